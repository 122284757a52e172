"""What tests of editing do to a transcript, and what search then knows."""

from __future__ import annotations

from app import engine
from app.db import db
from app.engine import testing
from app.videos import service_editing, service_search
from app.videos.models import Chunk, Transcript, Video
from app.videos.operations import Operation, SetText
from tests.videos.talks import again

WORKFLOW = "reindex-transcript"


def save(video: Video, *operations: Operation) -> Transcript:
    """Make a new version of the one shown, as a page does."""
    now = again(video)
    saved = service_editing.edit_transcript(now, now.transcript_id, operations)
    db.session.commit()
    return saved


def write(video: Video, text: str, cue: int = 0) -> Transcript:
    """Give a cue other words."""
    return save(video, SetText(cue, text))


def follow() -> None:
    """Let the index follow, whatever it waits for."""
    testing.drain(advance=True)


def finds(video: Video, text: str) -> bool:
    """Tell whether search finds these words in the video."""
    return bool(service_search.search_videos(video.owner_id, text, video_id=video.id))


def served(video: Video) -> set:
    """Return which versions the served chunks were cut from."""
    return {chunk.transcript_id for chunk in db.session.scalars(chunks_of(video))}


def chunks_of(video: Video):
    """Return the query of the served chunks of a video, with everything they have."""
    return (
        db.select(Chunk)
        .where(Chunk.video_id == video.id, Chunk.is_served)
        .order_by(Chunk.index)
        .execution_options(populate_existing=True)
    )


def runs(video: Video) -> list:
    """Return the runs that followed edits of the video, newest first."""
    return engine.list_runs(subject=f"video:{video.id}", workflow=WORKFLOW)


def is_up_to_date(video: Video) -> bool:
    """Tell whether search looks at the version shown, and nothing is left over that no retry may go on with."""
    now = again(video)
    left = db.session.scalar(
        db.select(db.func.count()).select_from(Chunk).where(Chunk.video_id == video.id, ~Chunk.is_served)
    )
    return served(video) == {now.transcript_id} and (not left or now.status in ("failed", "cancelled"))
