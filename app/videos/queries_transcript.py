"""Reads of transcripts, chunks and search."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import load_only

from app.db import db
from app.errors import NotFound
from app.lib.words import Word
from app.videos.cues import Cue
from app.videos.exports import Line
from app.videos.models import Chunk, Outline, Segment, Transcript, Video

MOST_CANDIDATES = 40  # chunks of one search whose words are looked at
EXACT_SCAN_ROWS = 10_000


@dataclass(frozen=True)
class Candidate:
    """A chunk that may answer a query; `rank` is PostgreSQL's, `similarity` the cosine, -1..1, None when not asked."""

    id: UUID
    video_id: UUID
    transcript_id: UUID
    first_segment: int
    last_segment: int
    start_seconds: float
    end_seconds: float
    rank: float = 0.0
    similarity: float | None = None


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


def list_models(owner_id: UUID, video_id: UUID | None = None) -> Sequence[str]:
    """Return the models whose vectors a person's served chunks carry."""
    wanted = sa.select(Chunk.model).distinct().where(Chunk.owner_id == owner_id, Chunk.is_served)
    return db.session.scalars(wanted.where(Chunk.video_id == video_id) if video_id else wanted).all()


def find_by_words(owner_id: UUID, tsquery: str, video_id: UUID | None = None) -> list[Candidate]:
    """Return the chunks with any of the words, best first by PostgreSQL's cover density."""
    query = sa.func.to_tsquery("simple", tsquery)
    rank = sa.func.ts_rank_cd(Chunk.search, query)
    rows = db.session.execute(
        _candidates(owner_id, video_id, rank.label("rank"))
        .where(Chunk.search.op("@@")(query))
        .order_by(rank.desc(), Chunk.id)
        .limit(MOST_CANDIDATES)
    )
    return [Candidate(*row) for row in rows]


def find_by_vector(
    owner_id: UUID, model: str, vector: Sequence[float], video_id: UUID | None = None
) -> list[Candidate]:
    """Return the chunks of `model` nearest to `vector` by cosine, best first.

    An exact scan over one person's chunks: a filter on top of an approximate index would silently drop rows.
    """
    distance = Chunk.embedding.cosine_distance(list(vector))
    rows = db.session.execute(
        _candidates(owner_id, video_id, sa.literal(0.0), (1 - distance).label("similarity"))
        .where(Chunk.model == model, Chunk.embedding.is_not(None))
        .order_by(distance, Chunk.id)
        .limit(MOST_CANDIDATES)
    )
    return [Candidate(*row) for row in rows]


def list_cue_words(candidates: Collection[Candidate]) -> dict[UUID, list[Segment]]:
    """Return the cues of each candidate by the chunk's id, in one query."""
    if not candidates:
        return {}
    rows = db.session.execute(
        sa.select(Chunk.id, Segment)
        .join(
            Segment,
            sa.and_(
                Segment.transcript_id == Chunk.transcript_id,
                Segment.index.between(Chunk.first_segment, Chunk.last_segment),
            ),
        )
        .where(Chunk.id.in_([candidate.id for candidate in candidates]))
        .order_by(Chunk.id, Segment.index)
    )
    found: dict[UUID, list[Segment]] = {candidate.id: [] for candidate in candidates}
    for chunk_id, segment in rows:
        found[chunk_id].append(segment)
    return found


def titles(video_ids: Collection[UUID]) -> dict[UUID, Video]:
    """Return videos by id."""
    return {video.id: video for video in db.session.scalars(sa.select(Video).where(Video.id.in_(video_ids)))}


def _candidates(owner_id: UUID, video_id: UUID | None, *more: sa.ColumnElement[float]) -> sa.Select[*tuple[Any, ...]]:
    wanted = (
        sa.select(
            Chunk.id,
            Chunk.video_id,
            Chunk.transcript_id,
            Chunk.first_segment,
            Chunk.last_segment,
            Chunk.start_seconds,
            Chunk.end_seconds,
            *more,
        )
        .join(Video, Video.id == Chunk.video_id)
        .where(Chunk.owner_id == owner_id, Chunk.is_served, Video.deleted_at.is_(None))
    )
    return wanted.where(Chunk.video_id == video_id) if video_id else wanted


def has_any(owner_id: UUID) -> bool:
    """Tell whether a person has a video that can be searched."""
    return bool(db.session.scalar(sa.select(sa.exists().where(Chunk.owner_id == owner_id, Chunk.is_served))))
