"""Reads of videos for the pages of other rooms."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

import sqlalchemy as sa

from app.db import db
from app.videos.models import FINAL, Video


def list_recent(owner_id: UUID, *, limit: int = 8) -> Sequence[Video]:
    """Return a person's finished or cancelled videos, newest first."""
    return _list(owner_id, ("completed", "cancelled"), limit)


def list_failed(owner_id: UUID, *, limit: int = 5) -> Sequence[Video]:
    """Return a person's failed videos, newest first."""
    return _list(owner_id, ("failed",), limit)


def list_unfinished(owner_id: UUID, *, limit: int = 20) -> Sequence[Video]:
    """Return a person's videos that something is being done to, or will be, newest first."""
    return _list(owner_id, None, limit)


def titles_of(owner_id: UUID, video_ids: Collection[UUID]) -> dict[UUID, str]:
    """Return the titles of those of a person's videos that are still there."""
    rows = db.session.execute(
        sa.select(Video.id, Video.title).where(Video.owner_id == owner_id, Video.id.in_(video_ids))
    )
    return {row.id: row.title for row in rows}


def _list(owner_id: UUID, statuses: Collection[str] | None, limit: int) -> Sequence[Video]:
    status = Video.status.in_(statuses) if statuses is not None else Video.status.not_in(FINAL)
    return db.session.scalars(
        sa.select(Video)
        .where(Video.owner_id == owner_id, Video.deleted_at.is_(None), status)
        .order_by(Video.created_at.desc(), Video.id.desc())
        .limit(limit)
    ).all()
