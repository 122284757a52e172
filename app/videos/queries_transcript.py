"""Reads of transcripts and chunks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import load_only

from app.db import db
from app.errors import NotFound
from app.lib.words import Word
from app.videos.cues import Cue
from app.videos.exports import Line
from app.videos.models import Chunk, Outline, Segment, Transcript, Video


def get_transcript(video: Video) -> Transcript:
    """Return the transcript shown now.

    Raises:
        NotFound: there is none yet.
    """
    found = db.session.get(Transcript, video.transcript_id) if video.transcript_id else None
    if found is None:
        raise NotFound("This video has no transcript yet. Come back when it is ready.")
    return found


def get_transcript_of(video_id: UUID, transcript_id: UUID) -> Transcript | None:
    """Return one transcript of a video."""
    return db.session.scalar(
        sa.select(Transcript).where(Transcript.id == transcript_id, Transcript.video_id == video_id)
    )


def find_transcript_of_run(run_id: UUID) -> Transcript | None:
    """Return the transcript that a run has saved."""
    return db.session.scalar(sa.select(Transcript).where(Transcript.run_id == run_id))


def next_number(video_id: UUID) -> int:
    """Return the number of the next transcript of a video."""
    last = db.session.scalar(sa.select(sa.func.max(Transcript.number)).where(Transcript.video_id == video_id))
    return (last or 0) + 1


def list_segments(transcript_id: UUID) -> Sequence[Segment]:
    """Return the cues of a transcript in order."""
    return db.session.scalars(
        sa.select(Segment).where(Segment.transcript_id == transcript_id).order_by(Segment.index)
    ).all()


def list_lines(transcript_id: UUID) -> list[Line]:
    """Return the cues of a transcript as the exports need them."""
    rows = db.session.execute(
        sa.select(Segment.start_seconds, Segment.end_seconds, Segment.text, Segment.speaker, Segment.confidence)
        .where(Segment.transcript_id == transcript_id)
        .order_by(Segment.index)
    )
    return [Line(*row) for row in rows]


def list_numbered(transcript_id: UUID) -> list[tuple[int, float, str]]:
    """Return `(index, start in seconds, text)` of the cues of a transcript in order."""
    rows = db.session.execute(
        sa.select(Segment.index, Segment.start_seconds, Segment.text)
        .where(Segment.transcript_id == transcript_id)
        .order_by(Segment.index)
    )
    return [(number, start, text) for number, start, text in rows]


def get_outline(video: Video) -> Outline | None:
    """Return what a model wrote about a video, if anything."""
    return db.session.get(Outline, video.id, populate_existing=True)


def list_cues(transcript_id: UUID) -> list[Cue]:
    """Return the cues of a transcript with their words."""
    return [
        Cue(
            segment.start_seconds,
            segment.end_seconds,
            segment.text,
            tuple(Word(*word) for word in segment.words),
            segment.speaker,
            tuple(segment.flags),
        )
        for segment in list_segments(transcript_id)
    ]


def list_chunks(video: Video) -> Sequence[Chunk]:
    """Return the chunks of a video that are served, in order, without their vectors."""
    return db.session.scalars(
        sa.select(Chunk)
        .options(
            load_only(
                Chunk.index,
                Chunk.text,
                Chunk.start_seconds,
                Chunk.end_seconds,
                Chunk.words,
                Chunk.model,
                raiseload=True,
            )
        )
        .where(Chunk.video_id == video.id, Chunk.is_served)
        .order_by(Chunk.index)
    ).all()


def has_embeddings(transcript_id: UUID, model: str) -> bool:
    """Tell whether a transcript is served with vectors of `model`."""
    return bool(
        db.session.scalar(
            sa.select(sa.exists().where(Chunk.transcript_id == transcript_id, Chunk.model == model, Chunk.is_served))
        )
    )


def list_chunk_ids(transcript_id: UUID, run_id: UUID) -> Sequence[UUID]:
    """Return the chunks that a run is building, in order."""
    return db.session.scalars(
        sa.select(Chunk.id).where(Chunk.transcript_id == transcript_id, Chunk.run_id == run_id).order_by(Chunk.index)
    ).all()


def list_texts(chunk_ids: Collection[UUID]) -> list[tuple[UUID, str]]:
    """Return `(id, text)` of chunks, in order of their index."""
    rows = db.session.execute(sa.select(Chunk.id, Chunk.text).where(Chunk.id.in_(chunk_ids)).order_by(Chunk.index))
    return [(row.id, row.text) for row in rows]
