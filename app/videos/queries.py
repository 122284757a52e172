"""Reads of videos and uploads."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

import sqlalchemy as sa

from app.db import db
from app.errors import Invalid, NotFound
from app.lib.clock import now
from app.lib.ids import parse_id
from app.videos.models import FINAL, Upload, Video

PAGE_SIZE = 24
ACTIVE = "active"  # the filter for everything under way


@dataclass(frozen=True)
class LibraryFilter:
    """What part of a library is wanted. Empty: all of it."""

    status: str = ""
    q: str = ""
    tag: str = ""
    cursor: str = ""

    @property
    def is_empty(self) -> bool:
        """Tell whether this is the whole library from its beginning."""
        return not (self.status or self.q or self.tag or self.cursor)


@dataclass(frozen=True)
class LibraryPage:
    """Some videos, newest first, and where the next ones begin (None: these are the last)."""

    items: list[Video]
    next_cursor: str | None


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


def list_library(owner_id: UUID, wanted: LibraryFilter, limit: int = PAGE_SIZE) -> LibraryPage:
    """Return a page of a person's library.

    Raises:
        Invalid: the cursor is not one that a page gave.
    """
    query = sa.select(Video).where(Video.owner_id == owner_id, Video.deleted_at.is_(None))
    if wanted.status == ACTIVE:
        query = query.where(Video.status.not_in(FINAL))
    elif wanted.status:
        query = query.where(Video.status == wanted.status)
    for word in wanted.q.split():
        query = query.where(
            sa.or_(
                Video.title.icontains(word, autoescape=True),
                Video.original_filename.icontains(word, autoescape=True),
                Video.description.icontains(word, autoescape=True),
            )
        )
    if wanted.tag:
        query = query.where(Video.tags.contains([wanted.tag]))
    if wanted.cursor:
        query = query.where(sa.tuple_(Video.created_at, Video.id) < _read_cursor(wanted.cursor))
    found = list(db.session.scalars(query.order_by(Video.created_at.desc(), Video.id.desc()).limit(limit + 1)))
    more = len(found) > limit
    return LibraryPage(found[:limit], _cursor(found[limit - 1]) if more else None)


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
    """Return what a person stores here, in bytes: videos, deleted ones until they are gone, and uploads under way."""
    videos = sa.select(sa.func.coalesce(sa.func.sum(Video.size_bytes), 0)).where(Video.owner_id == owner_id)
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


def _cursor(video: Video) -> str:
    text = f"{video.created_at.isoformat()}|{video.id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[datetime, UUID]:
    refusal = Invalid(
        "This page address is not valid any more. Go back to the first page.", {"cursor": "Leave it out."}
    )
    try:
        padded = cursor[:200] + "=" * (-len(cursor[:200]) % 4)
        when, _, identity = base64.urlsafe_b64decode(padded.encode("ascii")).decode().partition("|")
        moment, video_id = datetime.fromisoformat(when), parse_id(identity)
    except (ValueError, binascii.Error):
        raise refusal from None
    if video_id is None or moment.tzinfo is None:
        raise refusal
    return moment, video_id
