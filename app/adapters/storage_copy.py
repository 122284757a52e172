"""Move house: copy every file from one store to another, for `throughline files copy`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from app.adapters.storage import Storage
from app.errors import NotFound
from app.lib import copies

TELL_EVERY = 100


def copy_files(source: Storage, target: Storage, scratch: Path, say: Callable[[str], None]) -> int:
    """Copy what the target lacks, or has in another size; return how many files were copied.

    Nothing is removed. Safe to run again, also after it was broken off, and while the product runs: files made
    meanwhile are copied by the next run. A file that is deleted under its hands is passed over.

    Raises:
        Unreachable, StorageFull: a store fails; what was copied stays.
    """
    wanted, there = source.list_keys(), dict(target.list_keys())
    missing = [key for key, size in wanted if there.get(key) != size]
    say(f"{len(wanted)} files, {len(wanted) - len(missing)} of them are there already.")
    copied = 0
    for key in missing:
        copied += _copy(source, target, key, scratch)
        if copied and copied % TELL_EVERY == 0:
            say(f"{copied} of {len(missing)} copied.")
    return copied


def _copy(source: Storage, target: Storage, key: str, scratch: Path) -> bool:
    try:
        path = source.local_path(key)
        if path is not None and path.is_file():
            target.put_path(key, path)
            return True
        with copies.folder(scratch) as folder:
            copy = folder / "copy"
            source.fetch(key, copy)
            target.put_path(key, copy, move=True)
            return True
    except (NotFound, FileNotFoundError):
        return False
