"""Copies that browsers play (renditions): how one is asked for, made, and what becomes of one that cannot be made.

A copy has a key of its own for each try, in a folder of its own, so that a process that was taken for dead can neither
replace nor remove what the next one stores.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from app import engine, live, log
from app.accounts import service as accounts
from app.adapters.media import NO_ROOM, Unusable, media
from app.adapters.storage import StorageFull, storage, telling_when_full
from app.db import db, on_rollback
from app.engine import Context, RunView
from app.errors import Conflict, Permanent, TooLarge
from app.lib.ids import new_id
from app.videos import endings, events, links, service_uploads, statuses, video_runs
from app.videos.models import Video

logger = log.get(__name__)

Json = dict[str, Any]
RESERVE_BYTES = 256 << 20  # of the disk, for everybody else
FULL = (
    "Your storage has no room for the copy. "
    "Delete videos that you no longer need, or ask an administrator for more room, then try again."
)
STOPPED = "It was stopped before it was done. Try again when you want it."
LOST = "It stopped without having been made. Try again; if it happens again, tell an administrator."


class OverQuota(Permanent):
    """The person's storage has no room for the copy."""

    status = 413
    code = "too_large"

    def __init__(self) -> None:
        super().__init__(FULL)


class Stopped(Permanent):
    """Its run was cancelled."""

    code = "stopped"


def ask(video: Video) -> None:
    """Have a copy made, in the caller's transaction; whether one is needed is the caller's business."""
    video.rendition_status, video.rendition_error = "making", None
    engine.send(events.RENDITION_REQUESTED, events.payload(video, new_id()), owner_id=video.owner_id)


def request(video: Video) -> None:
    """Have a copy made because its owner wants one ("Try again").

    Raises:
        Conflict: there is one, or it is being made.
    """
    if video.rendition_status == "ready":
        raise Conflict("There is a copy for browsers already. Reload the page to play it.")
    if _is_under_way(video):
        raise Conflict("The copy is being made already. Wait for it.")
    ask(video)
    live.touch(f"video:{video.id}")


def stop(video: Video, reason: str) -> bool:
    """Stop the making of a copy; tell whether there was anything to stop."""
    run = video_runs.find_rendition(video)
    return run is not None and not run.is_final and engine.cancel(run.id, reason)


def take_up(video: Video) -> None:
    """Begin anew for a video that was taken back after its deletion had stopped the making."""
    if video.rendition_status == "making":
        ask(video)


def state(video: Video) -> tuple[str | None, RunView | None]:
    """Return `making`, `ready`, `failed` or None (no copy is needed), and the run that is at it, if any.

    What counts is whether somebody is at it, not what its row was told last.
    """
    if video.rendition_status in (None, "ready"):
        return video.rendition_status, None
    run = video_runs.find_rendition(video)
    is_making = run is not None and not run.is_final
    return ("making", run) if is_making else ("failed", None)


def begin(owner_id: UUID, video_id: UUID) -> str:
    """Say that it is being made (a step); returns why there is nothing to do, or nothing."""
    video = statuses.get_video(owner_id, video_id, locked=True)
    if video.rendition_status == "ready":
        return "There is one."
    video.rendition_status, video.rendition_error = "making", None
    live.touch(f"video:{video_id}")
    return ""


def make(ctx: Context, owner_id: UUID, video_id: UUID) -> Json:
    """Make, store and announce the copy (a step). What an earlier try has left is removed first.

    Returns:
        `{media_type, bytes, width, height}`.

    Raises:
        Unusable: the file cannot be decoded, or not within its limits.
        OverQuota, StorageFull: no room is left.
        Stopped: the run was cancelled.
        NotFound: the video was deleted.
    """
    video = statuses.get_video(owner_id, video_id)
    key, seconds = video.storage_key, video.duration_seconds
    ours = f"{links.folder(owner_id, video_id)}/rendition"
    left = accounts.storage_left(owner_id)
    with _place(video_id) as place, telling_when_full():
        storage().delete_prefix(ours)
        room = shutil.disk_usage(place).free - RESERVE_BYTES
        if left <= 0:
            raise OverQuota
        if room <= 0:
            raise StorageFull
        try:
            with storage().get_path(key) as source:
                most = min(left, room)
                made = media().make_rendition(
                    source, place / "copy", duration_seconds=seconds, most_bytes=most, tell=_teller(ctx)
                )
        except Unusable as error:
            if error.code == NO_ROOM:
                raise (OverQuota if left <= room else StorageFull) from error
            raise
        statuses.get_video(owner_id, video_id)  # nothing is stored for a video that was deleted meanwhile
        stored = f"{ours}/{new_id()}.{made.extension}"
        storage().put_path(stored, place / "copy", move=True)
    on_rollback(f"rendition-{stored}", lambda: storage().delete(stored))
    try:
        accounts.ensure_storage(owner_id, made.size_bytes)  # locks the person: two copies do not take the same room
    except TooLarge as error:
        raise OverQuota from error
    video = statuses.get_video(owner_id, video_id, locked=True)
    video.rendition_status, video.rendition_error = "ready", None
    video.rendition_key, video.rendition_type, video.rendition_bytes = stored, made.media_type, made.size_bytes
    live.touch(f"video:{video_id}")
    return {"media_type": made.media_type, "bytes": made.size_bytes, "width": made.width, "height": made.height}


def end_badly(owner_id: UUID | None, video_id: UUID, run_id: UUID, status: str, error: Json | None) -> None:
    """Say why there is no copy; the video itself is none the worse.

    One that was deleted stays as it is: taking it back begins anew. One that another run is at is left to that run.
    """
    video = db.session.scalar(sa.select(Video).where(Video.id == video_id, Video.owner_id == owner_id))
    if video is None or video.deleted_at is not None or video.rendition_status != "making" or _is_under_way(video):
        return
    sentence = STOPPED if status == "cancelled" else endings.sentence(status, error or {}, run_id)
    video.rendition_status, video.rendition_error = "failed", sentence
    logger.warning("rendition.failed", video_id=str(video_id), run_id=str(run_id), status=status)
    live.touch(f"video:{video_id}")


def problem(video: Video) -> str:
    """Return the sentence about a copy that could not be made."""
    return video.rendition_error or LOST


def _is_under_way(video: Video) -> bool:
    run = video_runs.find_rendition(video)
    return run is not None and not run.is_final


def _teller(ctx: Context) -> Callable[[float], None]:
    def tell(share: float) -> None:
        if ctx.is_cancelled:
            raise Stopped(STOPPED)
        ctx.progress(current_step="make", done=share, total=1)

    return tell


@contextmanager
def _place(video_id: UUID) -> Iterator[Path]:
    """Give a folder on the disk of the stored files, so that a rename stores what is made in it.

    Its name says whose it is: what a killed process has left is removed by the next try, or by the hourly sweep.
    """
    folder, name = service_uploads.folder(), f"rendition-{video_id}-"
    for left in folder.glob(f"{name}*"):
        shutil.rmtree(left, ignore_errors=True)
    place = Path(tempfile.mkdtemp(prefix=name, dir=folder))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
