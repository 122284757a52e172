"""Files of the product: on the local disk now, with a Protocol that an S3-compatible store fits as well.

Keys are made by the product (`users/<owner>/videos/<id>/source.mp4`, `runs/<run>/...`), never from what a person typed.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Protocol

import obstore
from flask import current_app
from obstore.exceptions import BaseError, GenericError
from obstore.store import LocalStore, MemoryStore

from app import log
from app.errors import NotFound, Transient
from app.lib import outside
from app.settings import Settings

logger = log.get(__name__)

KEY = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")
LONGEST_KEY = 300
PART_BYTES = 8 << 20
FULL = (errno.ENOSPC, errno.EDQUOT)


class StorageFull(Transient):
    """No room is left; the person can do nothing but wait, so the message says whom to tell."""

    status = 507
    code = "storage_full"

    def __init__(self) -> None:
        super().__init__(
            "There is no room left to store this file. Nothing was kept; tell whoever runs this server, and try later."
        )


def is_full(error: BaseException) -> bool:
    """Tell whether a write failed because the disk, or the account's share of it, is full."""
    return isinstance(error, OSError) and error.errno in FULL


@contextmanager
def telling_when_full() -> Iterator[None]:
    """Do the writes of a block (or of a function that this decorates).

    Raises:
        StorageFull: one of them found no room.
    """
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise StorageFull from error
        raise


class Storage(Protocol):
    """A store of files by key. Keys are checked (ValueError); a missing file raises NotFound."""

    def put_path(self, key: str, path: Path, *, move: bool = False) -> None:
        """Store the file at `path` under `key`, whole or not at all; `move` gives the file away (cheap on one disk).

        Raises:
            StorageFull: no room is left; nothing is stored.
        """

    def get_path(self, key: str) -> AbstractContextManager[Path]:
        """Give a local file with the content, only for reading and only inside the `with` block."""

    def local_path(self, key: str) -> Path | None:
        """Return where the file lies on this machine, None when the store is elsewhere."""

    def size(self, key: str) -> int:
        """Return the size in bytes."""

    def modified_at(self, key: str) -> datetime:
        """Return when the file was stored."""

    def read_range(self, key: str, start: int, end: int) -> bytes:
        """Return the bytes from `start` up to and without `end`."""

    def delete(self, key: str) -> None:
        """Remove the file; one that is not there is no error."""

    def delete_prefix(self, prefix: str) -> int:
        """Remove every file under the folder `prefix`; return how many there were."""

    def exists(self, key: str) -> bool:
        """Tell whether there is a file."""


class ObjectStorage:
    """Any store that obstore speaks to."""

    def __init__(self, store: LocalStore | MemoryStore) -> None:
        self._store = store

    def put_path(self, key: str, path: Path, *, move: bool = False) -> None:
        """See Storage."""
        check_key(key)
        outside.before_outside_call()
        try:
            with path.open("rb") as file:
                obstore.put(self._store, key, file, chunk_size=PART_BYTES)
        except (BaseError, OSError) as error:
            raise _translate(error) from error
        if move:
            path.unlink()

    @contextmanager
    def get_path(self, key: str) -> Iterator[Path]:
        """See Storage. A copy in a temporary file, made in parts."""
        check_key(key)
        outside.before_outside_call()
        with tempfile.TemporaryDirectory(prefix="throughline-") as folder:
            copy = Path(folder) / key.rpartition("/")[2]
            try:
                with copy.open("wb") as out:
                    for part in obstore.get(self._store, key).stream(PART_BYTES):
                        out.write(part)
            except (BaseError, OSError) as error:
                raise _translate(error) from error
            yield copy

    def local_path(self, key: str) -> Path | None:
        """See Storage."""
        check_key(key)
        return None

    def size(self, key: str) -> int:
        """See Storage."""
        return self._head(key)["size"]

    def modified_at(self, key: str) -> datetime:
        """See Storage."""
        return self._head(key)["last_modified"]

    def read_range(self, key: str, start: int, end: int) -> bytes:
        """See Storage."""
        check_key(key)
        if end <= start:
            return b""
        try:
            return bytes(obstore.get_range(self._store, key, start=start, end=end))
        except (BaseError, OSError) as error:
            raise _translate(error) from error

    def delete(self, key: str) -> None:
        """See Storage."""
        check_key(key)
        try:
            obstore.delete(self._store, key)
        except FileNotFoundError:
            return
        except BaseError as error:
            raise _translate(error) from error

    def delete_prefix(self, prefix: str) -> int:
        """See Storage."""
        check_key(prefix)
        try:
            # The whole list first: removing while walking would pull folders away from under the walk.
            keys = [meta["path"] for batch in obstore.list(self._store, prefix) for meta in batch]
        except BaseError as error:
            raise _translate(error) from error
        for key in keys:
            self.delete(key)
        return len(keys)

    def exists(self, key: str) -> bool:
        """See Storage."""
        try:
            self._head(key)
        except NotFound:
            return False
        return True

    def _head(self, key: str) -> obstore.ObjectMeta:
        check_key(key)
        try:
            return obstore.head(self._store, key)
        except (BaseError, OSError) as error:
            raise _translate(error) from error


class LocalStorage(ObjectStorage):
    """A folder on this machine (or one that all machines mount)."""

    def __init__(self, root: Path) -> None:
        # Where root runs it, other accounts of the machine may walk through the folder above.
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root = root.resolve()
        super().__init__(LocalStore(self.root, automatic_cleanup=True))

    def put_path(self, key: str, path: Path, *, move: bool = False) -> None:
        """See Storage. A move on one file system is a rename: no byte is copied."""
        if not move:
            return super().put_path(key, path)
        check_key(key)
        outside.before_outside_call()
        target = self.root / key
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)  # noqa: PTH105  (Path.replace says the same; this reads as the system call)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise _translate(error) from error
            return super().put_path(key, path, move=True)
        return None

    @contextmanager
    def get_path(self, key: str) -> Iterator[Path]:
        """See Storage. The stored file itself: nothing is copied, so it must not be changed."""
        path = self.local_path(key)
        outside.before_outside_call()
        if path is None or not path.is_file():
            raise NotFound
        yield path

    def local_path(self, key: str) -> Path | None:
        """See Storage."""
        check_key(key)
        return self.root / key


class MemoryStorage(ObjectStorage):
    """For tests: behaves like a store that is elsewhere."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())


def check_key(key: str) -> None:
    """Refuse a key that the product did not make.

    Raises:
        ValueError: with an empty or odd part (`..`, a capital letter, a space), or over 300 characters.
    """
    if len(key) > LONGEST_KEY or not KEY.fullmatch(key) or ".." in key:
        raise ValueError(f"not a storage key: {key[:80]!r}")


def require_room(folder: Path, size_bytes: int, reserve_bytes: int = 256 << 20) -> None:
    """Refuse a file for which the disk of `folder` has no room, before it is sent.

    Raises:
        StorageFull: fewer than `size_bytes` + `reserve_bytes` are free.
    """
    if shutil.disk_usage(folder).free < size_bytes + reserve_bytes:
        raise StorageFull


def _translate(error: Exception) -> Exception:
    if isinstance(error, FileNotFoundError):
        return NotFound()
    if is_full(error) or (isinstance(error, GenericError) and "No space left" in str(error)):
        return StorageFull()
    logger.warning("storage.failed", kind=type(error).__name__, detail=str(error)[:300])
    return Transient("The file store does not answer. Nothing was lost; try again in a minute.")


def from_settings(settings: Settings) -> Storage:
    """Return the store of the settings: `files/` in the data folder."""
    return LocalStorage(settings.data_dir / "files")


def storage() -> Storage:
    """Return the store of the current app."""
    found: Storage = current_app.extensions["throughline.storage"]
    return found
