"""Folders for short-lived copies of large files: gone with their block, or when the next one is made."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "throughline-"
YOUNG_SECONDS = 60  # between its making and its lock a folder belongs to nobody


@contextmanager
def folder(root: Path | None = None) -> Iterator[Path]:
    """Give an empty folder in `root` (None: where the system has temporary files), removed after the block.

    A process that is killed leaves its folder, but no lock on it: whoever makes the next one in `root` removes it.
    """
    if root is not None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_abandoned(root)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=root) as made:
        handle = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield Path(made)
        finally:
            os.close(handle)


def _remove_abandoned(root: Path) -> None:
    for path in root.glob(f"{PREFIX}*"):
        try:
            if time.time() - path.stat().st_mtime < YOUNG_SECONDS:
                continue
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            continue  # its owner has just removed it
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(handle)
