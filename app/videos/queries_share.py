"""Reads of share links."""

from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa

from app.accounts import queries as accounts
from app.db import db
from app.videos.models import Outline, Share, Video


def find_open(video: Video) -> Share | None:
    """Return the open link of a video."""
    return db.session.scalar(
        sa.select(Share)
        .where(Share.video_id == video.id, Share.revoked_at.is_(None))
        .execution_options(populate_existing=True)
    )


def find_shared(share_id: UUID) -> tuple[Share, Video] | None:
    """Return what a link shows, None when it was ended, its video deleted, or its owner's account closed or gone."""
    row = db.session.execute(
        sa.select(Share, Video)
        .join(Video, Video.id == Share.video_id)
        .where(
            Share.id == share_id,
            Share.revoked_at.is_(None),
            Share.owner_id == Video.owner_id,
            Video.deleted_at.is_(None),
        )
    ).one_or_none()
    if row is None:
        return None
    owner = accounts.find_user(row[1].owner_id)
    return None if owner is None or owner.is_disabled else (row[0], row[1])


def find_outline(video: Video) -> Outline | None:
    """Return the summary and chapters of a video, when a model has written some."""
    return db.session.get(Outline, video.id)
