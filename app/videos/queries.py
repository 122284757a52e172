"""Reads of videos and uploads."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

import sqlalchemy as sa

from app.db import db
from app.errors import NotFound
from app.lib.clock import now
from app.lib.ids import parse_id
from app.videos.models import Upload, Video


class Person(Protocol):
    """Whoever asks: the current user."""

    @property
    def id(self) -> UUID:
        """Their id."""


def get_for(user: Person, video_id: UUID | str | None) -> Video:
    """Return a person's video.

    Raises:
        NotFound: there is none, it was deleted, or it is somebody else's.
    """
    identity = parse_id(video_id) if isinstance(video_id, str) else video_id
    video = identity and db.session.scalar(
        sa.select(Video).where(Video.id == identity, Video.owner_id == user.id, Video.deleted_at.is_(None))
    )
    if not video:
        raise NotFound
    return video


def get_fresh(video: Video) -> Video:
    """Return the video as the database has it now: verbs change its status there."""
    db.session.refresh(video)
    return video


def find(video_id: UUID) -> Video | None:
    """Return a video, whosever it is, unless it was deleted: for those who may see it by a signed link or a topic."""
    return db.session.scalar(sa.select(Video).where(Video.id == video_id, Video.deleted_at.is_(None)))


def library_version(owner_id: UUID) -> str:
    """Return a short text that changes when a video comes into a person's library or leaves it."""
    count, newest = db.session.execute(
        sa.select(sa.func.count(), sa.func.max(Video.created_at)).where(
            Video.owner_id == owner_id, Video.deleted_at.is_(None)
        )
    ).one()
    return f"{count}-{newest.isoformat() if newest else ''}"


def has_videos(owner_id: UUID) -> bool:
    """Tell whether a person has any video."""
    query = sa.select(sa.exists().where(Video.owner_id == owner_id, Video.deleted_at.is_(None)))
    return bool(db.session.scalar(query))


def find_same_content(owner_id: UUID, content_hash: str) -> Video | None:
    """Return the newest video of a person with this content."""
    return db.session.scalar(
        sa.select(Video)
        .where(Video.owner_id == owner_id, Video.content_hash == content_hash, Video.deleted_at.is_(None))
        .order_by(Video.created_at.desc())
        .limit(1)
    )


def find_by_key(owner_id: UUID, storage_key: str) -> Video | None:
    """Return the person's video whose file this is."""
    return db.session.scalar(
        sa.select(Video).where(Video.owner_id == owner_id, Video.storage_key == storage_key, Video.deleted_at.is_(None))
    )


def find_deleted(owner_id: UUID, video_id: UUID | str | None) -> Video | None:
    """Return a person's video that was deleted and is not gone yet."""
    identity = parse_id(video_id) if isinstance(video_id, str) else video_id
    if identity is None:
        return None
    return db.session.scalar(
        sa.select(Video).where(Video.id == identity, Video.owner_id == owner_id, Video.deleted_at.is_not(None))
    )


def stored_bytes(owner_id: UUID) -> int:
    """Return what a person stores here, in bytes.

    That is videos and their copies for browsers, deleted ones until they are gone, and uploads under way.
    """
    of_each = Video.size_bytes + Video.rendition_bytes
    videos = sa.select(sa.func.coalesce(sa.func.sum(of_each), 0)).where(Video.owner_id == owner_id)
    uploads = sa.select(sa.func.coalesce(sa.func.sum(Upload.length_bytes), 0)).where(
        Upload.owner_id == owner_id, _is_under_way()
    )
    return int(db.session.scalar(videos) or 0) + int(db.session.scalar(uploads) or 0)


def get_upload_for(user: Person, upload_id: UUID | str | None) -> Upload:
    """Return a person's upload.

    Raises:
        NotFound: there is none, it has expired, or it is somebody else's.
    """
    identity = parse_id(upload_id) if isinstance(upload_id, str) else upload_id
    upload = identity and db.session.scalar(
        sa.select(Upload).where(Upload.id == identity, Upload.owner_id == user.id, Upload.expires_at > now())
    )
    if not upload:
        raise NotFound("There is no such upload. It may have expired; start it again.")
    return upload


def has_upload(upload_id: UUID | None) -> bool:
    """Tell whether an upload's row is there, expired or not."""
    return upload_id is not None and db.session.scalar(sa.select(Upload.id).where(Upload.id == upload_id)) is not None


def list_uploads(owner_id: UUID) -> list[Upload]:
    """Return a person's uploads that have not become a video, oldest first."""
    return list(
        db.session.scalars(
            sa.select(Upload)
            .where(Upload.owner_id == owner_id, Upload.expires_at > now(), _is_under_way())
            .order_by(Upload.created_at)
        )
    )


def list_expired_uploads(limit: int = 20) -> list[Upload]:
    """Return uploads whose time is over, of anybody."""
    return list(
        db.session.scalars(sa.select(Upload).where(Upload.expires_at <= now()).order_by(Upload.expires_at).limit(limit))
    )


def exists(video_id: UUID) -> bool:
    """Tell whether a video's row is there, deleted or not."""
    return db.session.scalar(sa.select(Video.id).where(Video.id == video_id)) is not None


def _is_under_way() -> sa.ColumnElement[bool]:
    return ~sa.exists().where(Video.id == Upload.video_id)
