"""What people do to their videos: rename, retry, cancel, delete and take back. None of it commits."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from app import engine, live, log
from app.adapters import cache
from app.adapters.media import media
from app.adapters.storage import storage
from app.db import db
from app.engine import RetryAfter, RunView
from app.errors import Conflict
from app.lib.clock import now
from app.lib.ids import new_id, parse_id
from app.videos import events, links, rendering, spoken, statuses, text_tracks, video_runs
from app.videos.events import PIPELINE
from app.videos.models import FINAL, Upload, Video

logger = log.get(__name__)

UNDO = timedelta(seconds=30)
PURGE_GRACE = timedelta(seconds=1)  # so that taking back and removing never meet at the same moment


def change_video(video: Video, changes: dict[str, Any]) -> Video:
    """Change title, description, language or tags."""
    for name, value in changes.items():
        setattr(video, name, value)
    live.touch(f"video:{video.id}")
    return video


def retry(video: Video) -> None:
    """Go on from the step that failed; what was done before it is not done (nor paid for) again.

    Raises:
        Conflict: the video has neither failed nor been cancelled.
    """
    failed = _last_run(video)
    step = _failed_step(failed)
    status = statuses.status_at(failed.workflow, step) if failed else "pending"
    if not _change_status(video, ("failed", "cancelled"), status):
        raise Conflict("Only a video that failed or was cancelled can be retried. Look at it again.")
    if failed is not None and step is not None:
        engine.rerun_from(failed.id, step)
    elif failed is not None and failed.workflow == "generate-embeddings" and video.transcript_id:
        _request_chunks(video)
    else:
        _request_transcript(video, events.text_from(failed.input if failed else None))


def go_on_at(run: RunView, step: str) -> None:
    """Give the video of a run the status that it has at `step`, since its owner runs that again.

    Runs that give no video its status are left alone, and so is tidying up after the transcript is saved.

    Raises:
        NotFound: the video is gone.
        Conflict: work on it is under way.
    """
    video = _video_at(run, step)
    if video is not None:
        _give_status(video, run, step)


def take_up_again(run: RunView, step: str | None) -> None:
    """Give the video of a run that was given up the status that it has at `step`, since that same run goes on there.

    Raises:
        NotFound: the video is gone.
        Conflict: work on it is under way, or it has been worked on since.
    """
    video = _video_at(run, step)
    if video is None:
        return
    last = _last_run(video)
    if last is not None and last.id != run.id:
        raise Conflict("This video has been worked on since. If it is not as it should be, retry it on its own page.")
    _give_status(video, run, step)


def why_no_replay(run: RunView) -> str | None:
    """Return why a run is not to begin anew from its event, or None: it would pay for the same work twice.

    The pages of videos offer what is meant by it, and say what it costs.
    """
    if run.workflow in PIPELINE:
        return (
            "Its video decides how it is made again. Open the video: Retry goes on after what is done and paid for; "
            "Transcribe again begins anew, and says what that costs."
        )
    if run.event_name == events.BATCH_REPROCESS and (run.input or {}).get("force"):
        return "It would pay for all of its vectors again. If you mean that, ask for them anew, as you did before."
    return None


def transcribe_again(
    video: Video, text_from: str = text_tracks.AUTOMATIC, *, language: str = "", vocabulary: str | None = None
) -> None:
    """Make a new transcript, whatever there is.

    Args:
        video: of which.
        text_from: what the transcript is made of (text_tracks.py).
        language: what is spoken in it from now on; empty: as before.
        vocabulary: names and terms that the model may not know; None: as before.

    Raises:
        Conflict: work on the video is under way, there is no such text, or the model set now does not know its
            language. Nothing has changed then.
    """
    _refuse_text(video, text_from, language or video.language)
    if not _change_status(video, FINAL, "pending"):
        raise Conflict("Work on this video is under way. Wait for it, or cancel it first.")
    video.language = language or video.language
    video.vocabulary = video.vocabulary if vocabulary is None else vocabulary
    _request_transcript(video, text_from)


def reprocess(video: Video) -> None:
    """Cut the transcript into chunks and embed them again.

    Raises:
        Conflict: there is no transcript yet, or work on the video is under way.
    """
    if video.status in FINAL and not video.transcript_id:
        raise Conflict("There is no transcript yet, so there is nothing to index. Retry the video first.")
    if not _change_status(video, FINAL, "pending"):
        raise Conflict("Work on this video is under way. Wait for it, or cancel it first.")
    _request_chunks(video)


def cancel(video: Video) -> None:
    """Stop work on a video, also on its copy for browsers: no further step begins, results so far are kept.

    Raises:
        Conflict: nothing is under way.
    """
    is_rendering = rendering.stop(video, "cancelled by its owner")
    if not _change_status(video, _ACTIVE, "cancelled") and not is_rendering:
        raise Conflict("Nothing is under way for this video, so there is nothing to cancel.")
    _cancel_runs(video, "cancelled by its owner")


def delete(video: Video) -> None:
    """Remove a video from sight; `restore` brings it back for 30 s, then files, rows and vectors go for good."""
    video.deleted_at = now()
    stop(video, "the video was deleted")
    engine.send(events.DELETED, events.payload(video, new_id()), owner_id=video.owner_id)
    live.touch(f"video:{video.id}")
    live.touch(f"videos:{video.owner_id}")


def stop(video: Video, reason: str) -> None:
    """Stop whatever is done to a video, which may be nothing."""
    rendering.stop(video, reason)
    _change_status(video, _ACTIVE, "cancelled")
    _cancel_runs(video, reason)


def restore(video: Video) -> None:
    """Take a deletion back.

    Raises:
        Conflict: the 30 s are over.
    """
    changed = db.session.execute(
        sa.update(Video).where(Video.id == video.id, Video.deleted_at > now() - UNDO).values(deleted_at=None)
    )
    if changed.rowcount != 1:  # type: ignore[attr-defined]
        raise Conflict("It is too late to take this back: the video is gone. Upload the file again.")
    rendering.take_up(video)
    live.touch(f"video:{video.id}")
    live.touch(f"videos:{video.owner_id}")


def purge_files(owner_id: UUID, video_id: UUID) -> str:
    """Remove the files of a deleted video, and the models' kept answers, once it cannot be taken back any more.

    A step of purge-video.

    Raises:
        RetryAfter: it can still be taken back.
    """
    video = db.session.scalar(sa.select(Video).where(Video.id == video_id, Video.owner_id == owner_id))
    if video is None or video.deleted_at is None:
        return "kept"
    rest = (video.deleted_at + UNDO + PURGE_GRACE - now()).total_seconds()
    if rest > 0:
        raise RetryAfter(rest, "The deletion can still be taken back.")
    storage().delete_prefix(links.folder(owner_id, video_id))
    cache.forget(owner_id)  # what was heard in it stands there for up to a day
    return "removed"


def save_waveform(owner_id: UUID, video_id: UUID) -> int:
    """Save the peaks of a video's sound (a step of draw-waveform); return how many."""
    video = statuses.get_video(owner_id, video_id)
    duration_seconds = video.duration_seconds
    with storage().get_path(video.storage_key) as path:
        peaks = media().waveform(path, duration_seconds)
    db.session.execute(sa.update(Video).where(Video.id == video_id).values(waveform=peaks))
    return len(peaks)


def purge_rows(owner_id: UUID, video_id: UUID) -> int:
    """Remove the rows of a deleted video with its transcripts, chunks and vectors; return how many videos went."""
    db.session.execute(sa.delete(Upload).where(Upload.video_id == video_id))
    gone = db.session.execute(
        sa.delete(Video).where(Video.id == video_id, Video.owner_id == owner_id, Video.deleted_at.is_not(None))
    )
    return int(gone.rowcount)  # type: ignore[attr-defined]


_ACTIVE = ("pending", "transcribing", "processing", "embedding")


def _video_at(run: RunView, step: str | None) -> Video | None:
    """Return the video to which a run gives its status at `step`; None when it gives none there."""
    video_id = parse_id((run.subject or "").removeprefix("video:"))
    if run.workflow not in PIPELINE or step == "remove-files" or video_id is None or run.owner_id is None:
        return None
    return statuses.get_video(run.owner_id, video_id)


def _give_status(video: Video, run: RunView, step: str | None) -> None:
    if not _change_status(video, FINAL, statuses.status_at(run.workflow, step)):
        raise Conflict("Work on this video is under way. Wait for it, or cancel it first.")


def _refuse_text(video: Video, text_from: str, language: str) -> None:
    # Now: a run that fails would leave a finished video failed.
    if text_from == text_tracks.SOUND:
        if reason := spoken.refusal(language):
            raise Conflict(reason)
    elif text_from != text_tracks.AUTOMATIC and text_from not in dict(text_tracks.choices_of(video)):
        raise Conflict("There are no such captions in this video. Reload the page and choose again.")


def _request_transcript(video: Video, text_from: str) -> None:
    payload = events.payload(video, new_id(), text_from=text_from)
    engine.send(events.TRANSCRIBE_REQUESTED, payload, owner_id=video.owner_id)


def _request_chunks(video: Video) -> None:
    payload = events.payload(video, new_id(), transcript_id=str(video.transcript_id), force=True, wants_notice=False)
    engine.send(events.CHUNK_REQUESTED, payload, owner_id=video.owner_id)


def _change_status(video: Video, before: tuple[str, ...], after: str) -> bool:
    """Change the status if it still is one of `before`; tell whether it was."""
    changed = db.session.execute(
        sa.update(Video)
        .where(Video.id == video.id, Video.status.in_(before))
        .values(status=after, status_changed_at=now(), error_code=None, error_message=None)
    )
    live.touch(f"video:{video.id}")
    return bool(changed.rowcount == 1)  # type: ignore[attr-defined]


def _cancel_runs(video: Video, reason: str) -> None:
    for run in video_runs.list_pipeline_runs(video):  # never the hooks that tidy up after a cancelled run
        if not run.is_final:
            engine.cancel(run.id, reason)


def _last_run(video: Video) -> RunView | None:
    """Return the newest run of the pipeline about the video."""
    return next(iter(video_runs.list_pipeline_runs(video)), None)


def _failed_step(run: RunView | None) -> str | None:
    """Return where a retry goes on; None when it begins anew, also since what the run was at work on is replaced."""
    if run is None or run.status not in ("failed", "dead") or (run.error or {}).get("code") == statuses.Busy.code:
        return None
    return next((step.key for step in engine.list_steps(run.id) if step.status == "failed"), None)
