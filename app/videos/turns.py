"""One request at a time, over all processes that share the data folder: the next one waits, and finds what was made."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.db import after_commit, on_rollback
from app.errors import Conflict
from app.videos import service_uploads

PATIENCE_SECONDS = 30.0  # a poster is made and the file stored meanwhile


class BeingAdded(Conflict):
    """Another request is still making a video of the same upload or the same content."""

    code = "being_added"

    def __init__(self) -> None:
        super().__init__("This same file is being added right now. Look for it in your library in a minute.")


@contextmanager
def turn(name: str) -> Iterator[None]:
    """Wait for one's turn at what `name` says, and have it for the length of the block.

    Raises:
        BeingAdded: another one is at it, and still was after `PATIENCE_SECONDS`.
    """
    path = service_uploads.folder() / name
    while True:
        try:
            with service_uploads.locked_file(path, PATIENCE_SECONDS) as file:
                if os.fstat(file.fileno()).st_nlink == 0:
                    continue  # the one before took it away at the end of its turn
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return
        except service_uploads.Locked:
            raise BeingAdded from None


def until_the_end(name: str, let_go: Callable[[], None]) -> None:
    """Call `let_go` when the current transaction has been committed, or rolled back."""
    after_commit(f"turn-{name}", let_go)
    on_rollback(f"turn-{name}", let_go)
