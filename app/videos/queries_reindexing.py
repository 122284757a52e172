"""Reads of what search looks at beside the transcript shown."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import defer

from app.db import db
from app.videos import queries_versions as versions
from app.videos.models import TRANSCRIBED, Chunk, Segment, Transcript, Video


def list_served(video_id: UUID) -> Sequence[Chunk]:
    """Return the served chunks of a video in order, without their vectors."""
    return db.session.scalars(
        sa.select(Chunk)
        .options(defer(Chunk.embedding, raiseload=True), defer(Chunk.search, raiseload=True))
        .where(Chunk.video_id == video_id, Chunk.is_served)
        .order_by(Chunk.index)
        .execution_options(populate_existing=True)
    ).all()


def list_without_vector(set_id: UUID) -> Sequence[UUID]:
    """Return the chunks of a set that have no vector yet, in order."""
    return db.session.scalars(
        sa.select(Chunk.id).where(Chunk.run_id == set_id, Chunk.embedding.is_(None)).order_by(Chunk.index)
    ).all()


def is_outdated(video: Video) -> bool:
    """Tell whether search looks at another version than the one shown, or at none although that has words."""
    served = versions.find_served(video.id)
    return has_words(video.transcript_id) if served is None else served.id != video.transcript_id


def has_words(transcript_id: UUID | None) -> bool:
    """Tell whether a version has any cue."""
    return bool(db.session.scalar(sa.select(sa.exists().where(Segment.transcript_id == transcript_id))))


def has_newer_transcription(video_id: UUID, transcript_id: UUID) -> bool:
    """Tell whether the video was transcribed again after this version."""
    number = sa.select(Transcript.number).where(Transcript.id == transcript_id).scalar_subquery()
    newer = Transcript.video_id == video_id, Transcript.source.in_(TRANSCRIBED), Transcript.number > number
    return bool(db.session.scalar(sa.select(sa.exists().where(*newer))))
