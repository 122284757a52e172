"""The statuses that the workflows give a video, each by compare-and-set."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

import sqlalchemy as sa

from app import live
from app.db import db
from app.errors import NotFound, Permanent
from app.lib.clock import now
from app.videos.models import FINAL, Video

BEFORE: dict[str, Collection[str]] = {
    "transcribing": ("pending",),
    "processing": ("pending", "transcribing"),
    "embedding": ("pending", "processing"),
    "completed": ("pending", "processing", "embedding"),
    "failed": ("pending", "transcribing", "processing", "embedding"),
    "cancelled": ("pending", "transcribing", "processing", "embedding"),
}


class Busy(Permanent):
    """Another run is at work on this video, or it was cancelled meanwhile."""

    status = 409
    code = "video_busy"


def move(video_id: UUID, status: str, *, from_final: bool = False) -> None:
    """Change the status of a video in the caller's transaction; browsers hear of it after the commit.

    A failed or cancelled video stays so until a person asks for more (`from_final`): a step that was under way when
    it was cancelled cannot bring it back.

    Raises:
        Busy: the video is in a status that this one does not follow.
    """
    if not try_move(video_id, status, also=FINAL if from_final else ()):
        raise Busy("Another run is at work on this video, or it was cancelled. Look at it again, then retry.")


def try_move(
    video_id: UUID,
    status: str,
    *,
    also: Collection[str] = (),
    error_code: str | None = None,
    error_message: str | None = None,
) -> bool:
    """Do the same, but tell whether the status was changed instead of raising."""
    changed = db.session.execute(
        sa.update(Video)
        .where(Video.id == video_id, Video.status.in_((*BEFORE[status], *also)))
        .values(status=status, status_changed_at=now(), error_code=error_code, error_message=error_message)
    )
    live.touch(f"video:{video_id}")
    return bool(changed.rowcount == 1)  # type: ignore[attr-defined]


def status_at(workflow: str, step: str | None) -> str:
    """Return the status that a video has while a run of `workflow` is at `step`: where a retry goes on."""
    if step in (None, "prepare"):
        return "pending"
    if workflow == "transcribe-video":
        return "transcribing"
    return "embedding" if str(step).startswith(("batch", "complete")) else "processing"


def get_video(owner_id: UUID, video_id: UUID, *, locked: bool = False) -> Video:
    """Return the video that a run is about, from the database as it is now.

    Raises:
        NotFound: it was deleted, or is not the owner's.
    """
    wanted = sa.select(Video).where(Video.id == video_id, Video.owner_id == owner_id, Video.deleted_at.is_(None))
    video = db.session.scalar(
        (wanted.with_for_update() if locked else wanted).execution_options(populate_existing=True)
    )
    if video is None:
        raise NotFound("This video was deleted, so there is nothing left to do for it.")
    return video
