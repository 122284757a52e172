"""Reads of what search looks at beside the transcript shown."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import defer

from app.db import db
from app.videos.models import Chunk, Segment, Transcript, Video


def list_served(video_id: UUID) -> Sequence[Chunk]:
    """Return the served chunks of a video in order, without their vectors."""
    return db.session.scalars(
        sa.select(Chunk)
        .options(defer(Chunk.embedding, raiseload=True), defer(Chunk.search, raiseload=True))
        .where(Chunk.video_id == video_id, Chunk.is_served)
        .order_by(Chunk.index)
    ).all()


def is_outdated(video: Video) -> bool:
    """Tell whether search looks at another version than the one shown, or at none although that has words."""
    of_shown = sa.exists().where(Chunk.transcript_id == video.transcript_id, Chunk.is_served)
    return not db.session.scalar(sa.select(of_shown)) and has_words(video.transcript_id)


def has_words(transcript_id: UUID | None) -> bool:
    """Tell whether a version has any cue."""
    return bool(db.session.scalar(sa.select(sa.exists().where(Segment.transcript_id == transcript_id))))


def find_served(video_id: UUID) -> Transcript | None:
    """Return the version that the served chunks were cut from."""
    return db.session.scalar(
        sa.select(Transcript)
        .where(Transcript.id.in_(sa.select(Chunk.transcript_id).where(Chunk.video_id == video_id, Chunk.is_served)))
        .order_by(Transcript.number.desc())
        .limit(1)
    )
