"""The verbs of transcripts and their chunks. None commits; the step or view that calls does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from app import engine, live
from app.db import db
from app.lib.ids import new_id
from app.lib.words import split_words
from app.videos import chunks, events, search, statuses
from app.videos import queries_transcript as queries
from app.videos import queries_versions as versions
from app.videos.chunks import ChunkDraft
from app.videos.cues import Cue
from app.videos.models import TRANSCRIBED, Chunk, Segment, Transcript, Video


class Replaced(statuses.Busy):
    """What a run is at work on was made anew by another one."""

    def __init__(self) -> None:
        super().__init__("The transcript was changed or indexed anew meanwhile. Look at the video again, then retry.")


class Overtaken(Replaced):
    """The chunks of a newer version are served by now, so these are not needed any more."""


def save_transcript(
    owner_id: UUID,
    video_id: UUID,
    run_id: UUID,
    cues: Sequence[Cue],
    *,
    source: str,
    model: str = "",
    language: str | None = None,
) -> UUID:
    """Save cues as the video's transcript, show it, and send `video/transcription.completed`.

    A run saves once: a second call returns the first transcript and sends nothing.

    Args:
        owner_id: whose video.
        video_id: which.
        run_id: the run that made them.
        cues: in order.
        source: "model" or "captions".
        model: the transcription model's name.
        language: of the cues; None: the one that the video is spoken in.

    Returns:
        The transcript's id.

    Raises:
        NotFound: the video is gone.
        Busy: it was cancelled while the transcript was made.
    """
    video = statuses.get_video(owner_id, video_id, locked=True)
    saved = queries.find_transcript_of_run(run_id)
    if saved is not None:
        return saved.id
    if video.status == "cancelled":
        raise statuses.Busy("This was cancelled.")
    transcript = Transcript(
        id=new_id(),
        video_id=video.id,
        number=queries.next_number(video.id),
        source=source,
        model=model,
        language=language or video.language,
        run_id=run_id,
    )
    db.session.add(transcript)
    db.session.flush()
    insert_segments(transcript.id, cues)
    video.transcript_id = transcript.id
    live.touch(f"video:{video.id}")
    engine.send(
        events.TRANSCRIPTION_COMPLETED,
        events.payload(video, run_id, transcript_id=str(transcript.id)),
        owner_id=owner_id,
    )
    return transcript.id


def insert_segments(transcript_id: UUID, cues: Sequence[Cue]) -> None:
    """Write the cues of a new version."""
    if cues:
        db.session.execute(sa.insert(Segment), [_segment(transcript_id, index, cue) for index, cue in enumerate(cues)])


def say_edited(video: Video) -> None:
    """Ask for the index to follow the transcript; several requests within a few seconds are one."""
    request = events.payload(video, new_id(), transcript_id=str(video.transcript_id))
    engine.send(events.TRANSCRIPT_EDITED, request, owner_id=video.owner_id)


def follow_edits(video: Video) -> None:
    """Do so if search looks at an older version than the one shown: while another run was at work nothing followed."""
    served = versions.find_served(video.id)
    if served is not None and served.id != video.transcript_id:
        say_edited(video)


def build_chunks(video: Video, transcript_id: UUID, run_id: UUID, model: str) -> list[UUID]:
    """Store the chunks of a transcript, without vectors and not served yet; return their ids in order."""
    return store_chunks(video, transcript_id, run_id, model, chunks.cut(queries.list_cues(transcript_id)))


def store_chunks(
    video: Video, transcript_id: UUID, run_id: UUID, model: str, drafts: Sequence[ChunkDraft]
) -> list[UUID]:
    """Do the same with chunks that were cut already. The set is named after its run, which has only one."""
    db.session.execute(sa.delete(Chunk).where(Chunk.run_id == run_id, Chunk.video_id == video.id))
    rows = [
        {
            **asdict(draft),
            "id": new_id(),
            "owner_id": video.owner_id,
            "video_id": video.id,
            "transcript_id": transcript_id,
            "run_id": run_id,
            "model": model,
            "search_text": search.search_text(split_words(draft.text)),
        }
        for draft in drafts
    ]
    if rows:
        db.session.execute(sa.insert(Chunk), rows)
    return [row["id"] for row in rows]


def copy_vectors(video_id: UUID, set_id: UUID) -> None:
    """Give the chunks of a set the vectors of those served now that have the same text and are of the same model."""
    served = aliased(Chunk)
    db.session.execute(
        sa.update(Chunk)
        .where(Chunk.video_id == video_id, Chunk.run_id == set_id)
        .where(served.video_id == video_id, served.is_served, served.model == Chunk.model, served.text == Chunk.text)
        .values(embedding=served.embedding)
        .execution_options(synchronize_session=False)
    )


def store_vectors(vectors: dict[UUID, list[float]], model: str) -> None:
    """Give chunks their vectors, with the name of the model that made them: it may have been changed since the cut."""
    for chunk_id, vector in vectors.items():
        db.session.execute(sa.update(Chunk).where(Chunk.id == chunk_id).values(embedding=vector, model=model))


def serve_chunks(video: Video, transcript_id: UUID, run_id: UUID, count: int, *, spare_unserved: bool = False) -> int:
    """Swap a finished set in: its chunks are served and all others of the video go, in one transaction.

    Args:
        video: which, locked.
        transcript_id: what was cut.
        run_id: the set.
        count: how many chunks the set was cut into.
        spare_unserved: leave the sets that are still being made, or that a retry will go on with.

    Returns:
        How many chunks are served now.

    Raises:
        Overtaken: a newer version is served.
        Replaced: a chunk has no vector yet or is gone, or the video was transcribed again, which another run indexes.

    Edits that a person has made since it was cut are no reason not to serve it: the index then follows them.
    """
    ready = db.session.scalar(
        sa.select(sa.func.count()).where(
            Chunk.run_id == run_id, Chunk.video_id == video.id, Chunk.embedding.is_not(None)
        )
    )
    _ensure_newest(video, transcript_id)
    if ready != count:
        raise Replaced
    others = sa.delete(Chunk).where(Chunk.video_id == video.id, Chunk.run_id != run_id)
    db.session.execute(others.where(Chunk.is_served) if spare_unserved else others)
    served = db.session.execute(
        sa.update(Chunk).where(Chunk.video_id == video.id, Chunk.run_id == run_id).values(is_served=True)
    )
    live.touch(f"video:{video.id}")
    follow_edits(video)
    return int(served.rowcount)  # type: ignore[attr-defined]


def _ensure_newest(video: Video, transcript_id: UUID) -> None:
    """Raise unless this version is shown, or edits came after it and nothing newer is served."""
    if video.transcript_id == transcript_id:
        return
    shown, cut = (db.session.get(Transcript, each) for each in (video.transcript_id, transcript_id))
    if shown is None or cut is None or shown.source in TRANSCRIBED:
        raise Replaced
    served = versions.find_served(video.id)
    if served is not None and served.number > cut.number:
        raise Overtaken


def drop_unserved(video_id: UUID, run_id: UUID) -> None:
    """Remove the chunks that a run has not brought to be served."""
    db.session.execute(
        sa.delete(Chunk).where(Chunk.video_id == video_id, Chunk.run_id == run_id, Chunk.is_served.is_(False))
    )


def request_chunks(video: Video, *, force: bool = True) -> UUID:
    """Ask for the video's transcript to be chunked and embedded again ("chunk again")."""
    request_id = new_id()
    queries.get_transcript(video)
    engine.send(
        events.CHUNK_REQUESTED,
        events.payload(video, request_id, transcript_id=str(video.transcript_id), force=force, wants_notice=False),
        owner_id=video.owner_id,
    )
    return request_id


def request_reprocess(owner_id: UUID, video_ids: Sequence[UUID] = (), *, force: bool = False) -> UUID:
    """Ask for new embeddings of some videos of a person, or of all; those of the model set now are kept unless forced.

    Videos of others among `video_ids` are left out by the workflow.
    """
    request_id = new_id()
    data = events.BatchPayload(
        user_id=str(owner_id), video_ids=[str(each) for each in video_ids], request_id=str(request_id), force=force
    )
    engine.send(events.BATCH_REPROCESS, dict(data), owner_id=owner_id)
    return request_id


def _segment(transcript_id: UUID, index: int, cue: Cue) -> dict[str, Any]:
    return {
        "transcript_id": transcript_id,
        "index": index,
        "start_seconds": cue.start,
        "end_seconds": cue.end,
        "text": cue.text,
        "speaker": cue.speaker,
        "confidence": cue.confidence,
        "words": [[word.text, word.start, word.end, word.confidence] for word in cue.words],
        "flags": list(cue.flags),
    }
