"""What becomes of a video whose run did not complete: never is it left in a status that is not final."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from app import engine, log
from app.accounts import service as accounts
from app.db import db
from app.videos import events, notices, service_transcript, statuses, video_runs
from app.videos.models import Video

logger = log.get(__name__)

OURS = "error"  # the code of what nobody foresaw: its message is for the log, not for people
MOST_CHARACTERS = 1_000


def end_badly(owner_id: UUID | None, video_id: UUID, run_id: UUID, status: str, error: dict[str, Any] | None) -> None:
    """Set the status that fits a run's end, send `video/failed` unless it was cancelled.

    Chunks that are not served yet stay: a retry goes on with them, and the next set that is served removes them.

    Args:
        owner_id: whose video.
        video_id: which; one that is gone is no error.
        run_id: the run that ended.
        status: of the run: failed, cancelled, timed-out or dead.
        error: the engine's description (`class`, `code`, `message`).
    """
    accounts.give_back(run_id)  # what its last call had set aside; else it would stay so for hours
    error = error or {}
    code = str(error.get("code") or error.get("class") or OURS)[:100]
    video = db.session.scalar(sa.select(Video).where(Video.id == video_id, Video.owner_id == owner_id))
    if video is None or _is_in_other_hands(video, run_id, code):
        return
    service_transcript.follow_edits(video)
    if status == "cancelled":
        statuses.try_move(video_id, "cancelled")
        return
    message = sentence(status, error, run_id)
    logger.warning("video.failed", video_id=str(video_id), run_id=str(run_id), error=code, status=status)
    if statuses.try_move(video_id, "failed", error_code=code, error_message=message) and video.deleted_at is None:
        notices.note(video, run_id, "failed", message)
        engine.send(
            events.FAILED,
            events.payload(video, run_id, run_id=str(run_id), wants_notice=True, error=message),
            owner_id=owner_id,
        )


def _is_in_other_hands(video: Video, run_id: UUID, code: str) -> bool:
    """Tell whether another run is at work on the video and will end it.

    A cancelled run ends when its step under way does; by then the person may have asked for a retry, so a younger run
    has the video. One that was given up may have been resumed meanwhile. One that found the video busy leaves it to an
    older one, too.
    """
    active = [run for run in video_runs.list_pipeline_runs(video) if not run.is_final]
    return any(run.id >= run_id or code == statuses.Busy.code for run in active)


def sentence(status: str, error: dict[str, Any], run_id: UUID) -> str:
    """Return what the person reads: what happened and what to do."""
    code, message = str(error.get("code") or OURS), str(error.get("message") or "")
    if status == "timed-out":
        return "This took too long and was stopped. Retry; it goes on after the last step that was finished."
    if status == "dead":
        return "This stopped several times without getting on. Retry once; if it stops again, tell an administrator."
    if code == OURS or not message:
        return f"Something broke on our side. Retry; if it happens again, tell an administrator and name run {run_id}."
    if "." not in message[-2:]:
        message += "."
    return message[:MOST_CHARACTERS]
