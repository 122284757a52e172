"""The same file of one person at the same moment, through two doors or tabs: the second waits, and finds the first."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from app.db import after_commit, on_rollback
from app.errors import Conflict
from app.videos import service_uploads

PATIENCE_SECONDS = 30.0  # a poster is made and the file stored meanwhile


class BeingAdded(Conflict):
    """Another request is still making a video of the same content."""

    code = "being_added"

    def __init__(self) -> None:
        super().__init__("This same file is being added right now. Look for it in your library in a minute.")


@contextmanager
def turn(owner_id: UUID, content_hash: str) -> Iterator[None]:
    """Let one request at a time work with this content of this person, over all processes that share the data folder.

    Raises:
        BeingAdded: another one is at it, and still was after `PATIENCE_SECONDS`.
    """
    path = service_uploads.folder() / f"content-{owner_id}-{content_hash[:32]}"
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


def until_the_end(let_go: Callable[[], None]) -> None:
    """Call `let_go` when the current transaction has been committed, or rolled back."""
    after_commit("turn-of-content", let_go)
    on_rollback("turn-of-content", let_go)
