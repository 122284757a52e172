"""Files of the product: on the local disk, or in a bucket of an S3-compatible store (`storage_s3`).

Keys are made by the product (`users/<owner>/videos/<id>/source.mp4`, `runs/<run>/...`), never from what a person typed.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

import obstore
from flask import current_app
from obstore.exceptions import BaseError, GenericError
from obstore.store import LocalStore, MemoryStore, S3Store

from app import log
from app.errors import NotFound, Transient
from app.lib import copies, off_hub, outside
from app.settings import Settings

logger = log.get(__name__)

KEY = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")
LONGEST_KEY = 300
PART_BYTES = 8 << 20
PARTS_AT_ONCE = 3  # of one file, each in memory
FULL = (errno.ENOSPC, errno.EDQUOT)

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class StorageFull(Transient):
    """No room is left; the person can do nothing but wait, so the message says whom to tell."""

    status = 507
    code = "storage_full"

    def __init__(self) -> None:
        super().__init__(
            "There is no room left to store this file. Nothing was kept; tell whoever runs this server, and try later."
        )


class Unreachable(Transient):
    """The store does not answer, or refuses us. The person reads that nothing is lost; `hint` is for the administrator.

    The hint names the setting to mend, and holds no secret.
    """

    code = "storage_unreachable"

    def __init__(self, hint: str) -> None:
        super().__init__("The file store does not answer. Nothing was lost; try again in a minute.")
        self.hint = hint


@dataclass(frozen=True)
class Stored:
    """What a store knows of a file."""

    size_bytes: int
    modified_at: datetime


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
    """A store of files by key. Keys are checked (ValueError); a missing file raises NotFound.

    Every method may raise Unreachable. Under gevent only the calling greenlet waits.
    """

    def put_path(self, key: str, path: Path, *, move: bool = False) -> None:
        """Store the file at `path` under `key`, whole or not at all; `move` gives the file away (cheap on one disk).

        Raises:
            StorageFull: no room is left; nothing is stored.
        """

    def get_path(self, key: str) -> AbstractContextManager[Path]:
        """Give a local file with the content, only for reading and only inside the `with` block.

        Raises:
            StorageFull: the store is elsewhere, and there is no room here for a copy.
        """

    def fetch(self, key: str, path: Path) -> None:
        """Write a copy to the local file `path`.

        Raises:
            StorageFull: there is no room for it; an unfinished copy may be left at `path`.
        """

    def local_path(self, key: str) -> Path | None:
        """Return where the file lies on this machine, None when the store is elsewhere."""

    def about(self, key: str) -> Stored:
        """Return the size, and when the file was stored."""

    def size(self, key: str) -> int:
        """Return the size in bytes."""

    def read_range(self, key: str, start: int, end: int) -> bytes:
        """Return the bytes from `start` up to and without `end`."""

    def list_keys(self, prefix: str | None = None) -> list[tuple[str, int]]:
        """Return the keys under the folder `prefix`, or all, with their sizes in bytes."""

    def delete(self, key: str) -> None:
        """Remove the file; one that is not there is no error."""

    def delete_prefix(self, prefix: str) -> int:
        """Remove every file under the folder `prefix`; return how many there were."""

    def exists(self, key: str) -> bool:
        """Tell whether there is a file."""

    def check(self, *, thoroughly: bool = False) -> str:
        """Say in a few words where the files are; `thoroughly`: after writing one and removing it.

        Raises:
            Unreachable: it cannot be used; `hint` says what to mend.
        """


class ObjectStorage:
    """Any store that obstore speaks to."""

    def __init__(self, store: LocalStore | MemoryStore | S3Store, copies: Path | None = None) -> None:
        self._store = store
        self._copies = copies  # where copies are made for `get_path`; None: where the system has temporary files

    def put_path(self, key: str, path: Path, *, move: bool = False) -> None:
        """See Storage. In parts of 8 MiB; when one fails, those sent are taken back."""
        check_key(key)
        outside.before_outside_call()
        with path.open("rb") as file:
            self._ask(obstore.put, self._store, key, file, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)
        if move:
            path.unlink()

    @contextmanager
    def get_path(self, key: str) -> Iterator[Path]:
        """See Storage. A copy in a temporary file, made in parts."""
        check_key(key)
        with copies.folder(self._copies) as folder:
            copy = folder / key.rpartition("/")[2]
            self.fetch(key, copy)
            yield copy

    def fetch(self, key: str, path: Path) -> None:
        """See Storage."""
        check_key(key)
        outside.before_outside_call()
        self._ask(self._fetch, key, path)

    def local_path(self, key: str) -> Path | None:
        """See Storage."""
        check_key(key)
        return None

    def about(self, key: str) -> Stored:
        """See Storage."""
        check_key(key)
        found = self._ask(obstore.head, self._store, key)
        return Stored(found["size"], found["last_modified"])

    def size(self, key: str) -> int:
        """See Storage."""
        return self.about(key).size_bytes

    def read_range(self, key: str, start: int, end: int) -> bytes:
        """See Storage."""
        check_key(key)
        if end <= start:
            return b""
        return bytes(self._ask(obstore.get_range, self._store, key, start=start, end=end))

    def list_keys(self, prefix: str | None = None) -> list[tuple[str, int]]:
        """See Storage."""
        if prefix is not None:
            check_key(prefix)
        found = self._ask(lambda: [meta for batch in obstore.list(self._store, prefix) for meta in batch])
        return [(meta["path"], meta["size"]) for meta in found]

    def delete(self, key: str) -> None:
        """See Storage."""
        check_key(key)
        try:
            self._ask(obstore.delete, self._store, key)
        except NotFound:
            return

    def delete_prefix(self, prefix: str) -> int:
        """See Storage."""
        check_key(prefix)
        # The whole list first: removing while walking would pull folders away from under the walk.
        keys = [key for key, _ in self.list_keys(prefix)]
        for key in keys:
            self.delete(key)
        return len(keys)

    def exists(self, key: str) -> bool:
        """See Storage."""
        try:
            self.about(key)
        except NotFound:
            return False
        return True

    def check(self, *, thoroughly: bool = False) -> str:  # noqa: ARG002
        """See Storage."""
        return "in memory"

    def _ask(
        self, function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Make one call to the store, and raise what went wrong as an error of ours."""
        try:
            return off_hub.call(function, *args, **kwargs)
        except (BaseError, OSError) as error:
            raise self._understand(error) from error

    def _understand(self, error: Exception) -> Exception:
        if isinstance(error, FileNotFoundError):
            return NotFound()
        if is_full(error) or (isinstance(error, GenericError) and "No space left" in str(error)):
            return StorageFull()
        logger.warning("storage.failed", kind=type(error).__name__, detail=str(error)[:300])
        return Unreachable("The file store fails; the log says more.")

    def _fetch(self, key: str, path: Path) -> None:
        found = obstore.get(self._store, key)
        require_room(path.parent, found.meta["size"])
        with path.open("wb") as out:
            for part in found.stream(PART_BYTES):
                out.write(part)


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
                raise self._understand(error) from error
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

    def check(self, *, thoroughly: bool = False) -> str:
        """See Storage."""
        try:
            if thoroughly:
                with tempfile.TemporaryFile(dir=self.root) as probe:
                    probe.write(b"ok")
                    probe.flush()
        except OSError as error:
            raise Unreachable(f"{self.root} cannot be written ({error.strerror}). Mend its permissions.") from error
        return str(self.root)


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


def from_settings(settings: Settings) -> Storage:
    """Return the store of the settings: the bucket that they name, else `files/` in the data folder."""
    if settings.bucket is not None:
        from app.adapters.storage_s3 import S3Storage

        return S3Storage(settings.bucket, settings.data_dir / "copies")
    return LocalStorage(settings.data_dir / "files")


def storage() -> Storage:
    """Return the store of the current app."""
    found: Storage = current_app.extensions["throughline.storage"]
    return found
