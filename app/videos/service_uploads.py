"""Files on their way in: rows that count against limits, bytes in local files that grow under a lock.

The length of the file is the only truth about how much has arrived, so nothing has to be written to the database
while bytes come in, and a restart of the server loses nothing. All web processes must share the data folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import IO, Any
from uuid import UUID

import sqlalchemy as sa

from app import log
from app.accounts import service as accounts
from app.adapters.storage import require_room, storage, telling_when_full
from app.db import db, separately
from app.errors import Conflict, Invalid, TooLarge, TooMany
from app.lib.clock import now
from app.lib.ids import new_id, parse_id
from app.lib.text import file_size
from app.videos import links, queries
from app.videos.models import Upload
from app.web import settings

logger = log.get(__name__)

LIFE = timedelta(hours=24)  # after the last byte
LEFT_BEHIND = timedelta(days=2)  # longer than any one request
BLOCK_BYTES = 1 << 18
ALGORITHMS = ("sha1", "sha256", "md5")
PATIENCE_SECONDS = 3.0  # a connection that its browser has just left is noticed well within it
LOOK_AGAIN_SECONDS = 0.05


class Locked(Conflict):
    """Another request is writing this upload right now."""

    status = 423
    code = "upload_locked"

    def __init__(self) -> None:
        super().__init__("This upload is being written by another connection. Try again in a few seconds.")


class WrongOffset(Conflict):
    """The bytes sent do not follow the bytes that are there."""

    code = "wrong_offset"

    def __init__(self, offset: int) -> None:
        super().__init__(f"The upload is at {offset}. Ask for its offset, then go on from there.")
        self.offset = offset


class WrongChecksum(Invalid):
    """The bytes were changed on their way; they were thrown away."""

    status = 460
    code = "wrong_checksum"

    def __init__(self) -> None:
        super().__init__("The bytes do not match their checksum. Send this part again.")


@dataclass(frozen=True)
class Checksum:
    """What the sender says the bytes of one request hash to."""

    algorithm: str
    digest: bytes


def create(owner_id: UUID, length_bytes: int, filename: str, metadata: dict[str, Any] | None = None) -> Upload:
    """Begin an upload, in a transaction of its own: its length counts against the quota from now on.

    Raises:
        TooLarge: over the limit for a file, or over the person's quota.
        TooMany: the person has as many unfinished uploads as are allowed.
        StorageFull: the disk has no room for it.
    """
    check_length(length_bytes)
    remove_expired()
    require_room(folder(), length_bytes)
    accounts.ensure_storage(owner_id, length_bytes)  # locks the person until the commit: the count below is safe
    most = settings().max_uploads_at_once
    if len(queries.list_uploads(owner_id)) >= most:
        raise TooMany(
            f"You have {most} uploads under way, which is the most allowed. "
            "Wait for one to finish, or discard one on the upload page.",
            retry_after=30,
        )
    upload = Upload(
        id=new_id(),
        owner_id=owner_id,
        filename=filename,
        length_bytes=length_bytes,
        metadata_=metadata or {},
        expires_at=now() + LIFE,
    )
    path_of(upload).touch(mode=0o600)
    db.session.add(upload)
    db.session.commit()
    return upload


def check_length(length_bytes: int) -> None:
    """Refuse a file that is over the limit.

    Raises:
        TooLarge: it is; the message names both sizes.
    """
    most = settings().max_upload_bytes
    if length_bytes > most:
        raise TooLarge(
            f"This file has {file_size(length_bytes)}; at most {file_size(most)} are allowed. "
            "Export it with a lower quality, or cut it into parts."
        )


def offset_of(upload: Upload) -> int:
    """Return how many bytes have arrived: all of them, once they have become a video."""
    if has_become_a_video(upload):
        return upload.length_bytes
    try:
        return path_of(upload).stat().st_size
    except FileNotFoundError:
        return 0


def has_become_a_video(upload: Upload) -> bool:
    """Tell whether a video was made of the upload; its bytes then lie with the video's."""
    return upload.video_id is not None and queries.exists(upload.video_id)


def is_complete(upload: Upload) -> bool:
    """Tell whether all bytes have arrived."""
    return offset_of(upload) >= upload.length_bytes


def append(upload: Upload, offset: int, read: Callable[[int], bytes], checksum: Checksum | None = None) -> int:
    """Add the bytes that `read(size)` gives until it gives none, and return the new length.

    What arrives before a connection breaks is kept, except with a checksum: then it is all or nothing. At most
    256 KiB are in memory. Bytes beyond the announced length are not read.

    A connection that writes already gets `PATIENCE_SECONDS` to end: whoever pauses and goes on, or reloads, has left
    one behind that the server has not yet seen break.

    Raises:
        Locked, WrongOffset, WrongChecksum: see there; nothing was added.
        Conflict: it has become a video.
        StorageFull: the disk is full.
    """
    if upload.video_id is not None:
        raise Conflict("This upload has all its bytes. Make a video of it, or discard it.")
    with locked(upload, PATIENCE_SECONDS) as file:
        start = file.seek(0, 2)
        if start != offset:
            raise WrongOffset(start)
        with telling_when_full(), _whole_or_not_at_all(file, checksum) as digest:
            return start + _copy(file, read, upload.length_bytes - start, digest)


def keep_longer(upload: Upload) -> None:
    """Let the upload, a row without a session, live for another day, unless it was discarded meanwhile."""
    upload.expires_at = now() + LIFE
    values = {"expires_at": upload.expires_at}
    db.session.execute(sa.update(Upload).where(Upload.id == upload.id).values(values))


def fill(upload: Upload, path: Path, filename: str) -> Upload:
    """Give an upload all its bytes at once: the file at `path`, which is moved away. In a transaction of its own.

    Raises:
        TooLarge: the file is over the limit.
    """
    length = path.stat().st_size
    check_length(length)
    path.replace(path_of(upload))
    with separately() as session:
        values = {"length_bytes": length, "filename": filename}
        session.execute(sa.update(Upload).where(Upload.id == upload.id).values(values))
    db.session.refresh(upload)
    return upload


def forget(upload: Upload) -> None:
    """Remove an upload and its bytes now, whatever becomes of the caller's transaction."""
    (upload_id,) = sa.inspect(upload, raiseerr=True).identity or (None,)  # its row may be gone already
    (folder() / str(upload_id)).unlink(missing_ok=True)
    db.session.rollback()
    with separately() as session:
        session.execute(sa.delete(Upload).where(Upload.id == upload_id))


def discard(upload: Upload) -> None:
    """Forget an upload and its bytes. A connection that writes gets `PATIENCE_SECONDS` to end.

    Raises:
        Locked: bytes are still coming in.
    """
    if path_of(upload).exists():
        with locked(upload, PATIENCE_SECONDS):
            path_of(upload).unlink(missing_ok=True)
    db.session.delete(upload)


def remove_expired() -> int:
    """Remove uploads whose time is over, and the files of a video that a crash kept from being made."""
    count = sum(_remove_expired(upload) for upload in queries.list_expired_uploads())
    if count:
        logger.info("uploads.expired", count=count)
    return count


def remove_left_behind() -> int:
    """Remove from the folder of uploads what a killed process left: half forms, bytes whose row was never written."""
    count = 0
    for path in folder().iterdir():
        is_old = now().timestamp() - path.stat().st_mtime > LEFT_BEHIND.total_seconds()
        if not is_old or queries.has_upload(parse_id(path.name)):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        count += 1
    if count:
        logger.warning("uploads.left_behind", count=count)
    return count


@contextmanager
def locked(upload: Upload, patience: float = 0.0) -> Iterator[IO[bytes]]:
    """Open the upload's file for this request alone; a process that dies lets go of it.

    Raises:
        Locked: somebody else has it open, and still had after `patience` seconds.
    """
    with locked_file(path_of(upload), patience) as file:
        if os.fstat(file.fileno()).st_nlink == 0:
            raise Locked  # whoever had it has discarded it
        yield file


@contextmanager
def locked_file(path: Path, patience: float) -> Iterator[IO[bytes]]:
    """Do the same with any file of this folder, which is made when it is not there."""
    give_up_at = monotonic() + patience
    with path.open("a+b", buffering=0) as file:
        while not _took(file):  # a lock that waits by itself would stop every other request of this process
            if monotonic() >= give_up_at:
                raise Locked
            sleep(LOOK_AGAIN_SECONDS)
        yield file


def path_of(upload: Upload) -> Path:
    """Return where the bytes lie."""
    return folder() / str(upload.id)


def folder() -> Path:
    """Return the folder of unfinished uploads; it is on the disk of the stored files, so a rename stores them."""
    path = settings().data_dir / "uploads"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _took(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove_expired(upload: Upload) -> bool:
    try:
        with locked(upload):
            if upload.video_id and not queries.exists(upload.video_id):
                storage().delete_prefix(links.folder(upload.owner_id, upload.video_id))
            path_of(upload).unlink(missing_ok=True)
    except Locked:
        return False  # bytes are coming in, or it is being made into a video; the next sweep looks again
    with separately() as session:
        session.execute(sa.delete(Upload).where(Upload.id == upload.id))
    return True


@contextmanager
def _whole_or_not_at_all(file: IO[bytes], checksum: Checksum | None) -> Iterator[Any]:
    """Give the hash for the bytes that the block adds, if there is a checksum; then take them away unless they match.

    Raises:
        WrongChecksum: they do not.
    """
    if checksum is None:
        yield None
        return
    start, digest = file.tell(), hashlib.new(checksum.algorithm, usedforsecurity=False)
    try:
        yield digest
    except BaseException:
        file.truncate(start)
        raise
    if not hmac.compare_digest(digest.digest(), checksum.digest):
        file.truncate(start)
        raise WrongChecksum


def _copy(file: IO[bytes], read: Callable[[int], bytes], most: int, digest: Any) -> int:
    done = 0
    while done < most:
        block = read(min(BLOCK_BYTES, most - done))
        if not block:
            break
        if digest is not None:
            digest.update(block)
        view = memoryview(block)
        while view:  # an unbuffered file may take a part only
            view = view[file.write(view) :]
        done += len(block)
    return done
