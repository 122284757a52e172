"""Reads of the library page: a person's videos by filter, in an order, a page at a time."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from app.db import db
from app.errors import Invalid
from app.lib.ids import parse_id
from app.videos.models import FINAL, Video

PAGE_SIZE = 24
ACTIVE = "active"  # the filter for everything under way
LONGEST_CURSOR = 4_000  # that of a title of 300 characters


@dataclass(frozen=True)
class Sort:
    """An order of the library: its name for people, by what, and which way."""

    name: str
    key: Any
    is_falling: bool
    read: Callable[[Any], Any]  # what a cursor says, as a value to compare with


def _moment(value: Any) -> datetime:
    found = datetime.fromisoformat(value)
    if found.tzinfo is None:
        raise ValueError(value)
    return found


def _whole(value: Any) -> int:
    if not -(2**63) <= (found := int(value)) < 2**63:
        raise ValueError(value)
    return found


SORTS: dict[str, Sort] = {
    "newest": Sort("Newest", Video.created_at, True, _moment),
    "oldest": Sort("Oldest", Video.created_at, False, _moment),
    "title": Sort("Title", sa.func.lower(Video.title), False, str),
    "length": Sort("Longest", Video.duration_seconds, True, float),
    "size": Sort("Largest", Video.size_bytes, True, _whole),
    "changed": Sort("Recently changed", Video.changed_at, True, _moment),
}


@dataclass(frozen=True)
class LibraryFilter:
    """What part of a library is wanted, and in which order. Empty: all of it, newest first."""

    status: str = ""
    q: str = ""
    tag: str = ""
    cursor: str = ""
    language: str = ""
    sort: str = "newest"

    @property
    def is_empty(self) -> bool:
        """Tell whether this is the whole library from its beginning."""
        return not (self.is_narrowed or self.cursor)

    @property
    def is_narrowed(self) -> bool:
        """Tell whether something is filtered out."""
        return bool(self.status or self.q or self.tag or self.language)

    def named(self, **changes: str) -> dict[str, str]:
        """Return what stands in the address of the page, with changes, without what says nothing."""
        values = vars(replace(self, **changes))
        return {name: value for name, value in values.items() if value and (name, value) != ("sort", "newest")}


@dataclass(frozen=True)
class LibraryPage:
    """Some videos in their order, and where the next ones begin (None: these are the last)."""

    items: list[Video]
    next_cursor: str | None


@dataclass(frozen=True)
class Choices:
    """What a person's library can be filtered by, with how many videos there are of each, the most first."""

    tags: list[tuple[str, int]]
    languages: list[tuple[str, int]]


def list_library(owner_id: UUID, wanted: LibraryFilter, limit: int = PAGE_SIZE) -> LibraryPage:
    """Return a page of a person's library.

    Raises:
        Invalid: the cursor is not one that a page of this order gave.
    """
    sort = SORTS[wanted.sort]
    query = sa.select(Video, sort.key.label("place")).where(_fits(owner_id, wanted))
    place = sa.tuple_(sort.key, Video.id)
    if wanted.cursor:
        after = _read_cursor(wanted)
        query = query.where(place < after if sort.is_falling else place > after)
    order = (sort.key.desc(), Video.id.desc()) if sort.is_falling else (sort.key, Video.id)
    found = db.session.execute(query.order_by(*order).limit(limit + 1)).all()
    items = [row.Video for row in found[:limit]]
    return LibraryPage(items, _cursor(wanted.sort, found[limit - 1].place, items[-1]) if len(found) > limit else None)


def count_library(owner_id: UUID, wanted: LibraryFilter) -> int:
    """Return how many of a person's videos fit a filter."""
    return db.session.scalar(sa.select(sa.func.count(Video.id)).where(_fits(owner_id, wanted))) or 0


def list_fitting(owner_id: UUID, wanted: LibraryFilter, limit: int) -> list[UUID]:
    """Return the ids of a person's videos that fit a filter, newest first, at most `limit`."""
    query = sa.select(Video.id).where(_fits(owner_id, wanted)).order_by(Video.created_at.desc(), Video.id.desc())
    return list(db.session.scalars(query.limit(limit)))


def list_chosen(owner_id: UUID, video_ids: Collection[UUID]) -> Sequence[Video]:
    """Return those of the videos that are the person's and still there, newest first."""
    return db.session.scalars(
        sa.select(Video)
        .where(Video.owner_id == owner_id, Video.deleted_at.is_(None), Video.id.in_(video_ids))
        .order_by(Video.created_at.desc(), Video.id.desc())
    ).all()


def list_deleted_with(video: Video) -> Sequence[Video]:
    """Return what was deleted in the same moment as this video, itself included: one undo takes all of it back."""
    return db.session.scalars(
        sa.select(Video)
        .where(Video.owner_id == video.owner_id, Video.deleted_at == video.deleted_at)
        .order_by(Video.id)
    ).all()


def choices(owner_id: UUID) -> Choices:
    """Return the tags and languages of a person's videos."""
    mine = (Video.owner_id == owner_id) & Video.deleted_at.is_(None)
    each = sa.select(sa.func.unnest(Video.tags).label("tag")).where(mine).subquery()
    tags = sa.select(each.c.tag, sa.func.count()).group_by(each.c.tag)
    languages = sa.select(Video.language, sa.func.count()).where(mine).group_by(Video.language)
    return Choices(
        [(row[0], row[1]) for row in db.session.execute(tags.order_by(sa.func.count().desc(), each.c.tag))],
        [(row[0], row[1]) for row in db.session.execute(languages.order_by(sa.func.count().desc(), Video.language))],
    )


def _fits(owner_id: UUID, wanted: LibraryFilter) -> sa.ColumnElement[bool]:
    parts: list[sa.ColumnElement[bool]] = [Video.owner_id == owner_id, Video.deleted_at.is_(None)]
    if wanted.status:
        parts.append(Video.status.not_in(FINAL) if wanted.status == ACTIVE else Video.status == wanted.status)
    if wanted.tag:
        parts.append(Video.tags.contains([wanted.tag]))
    if wanted.language:
        parts.append(Video.language == wanted.language)
    texts = (Video.title, Video.original_filename, Video.description, sa.func.array_to_string(Video.tags, "\n"))
    parts += [sa.or_(*(text.icontains(word, autoescape=True) for text in texts)) for word in wanted.q.split()]
    return sa.and_(*parts)


def _cursor(sort: str, place: Any, video: Video) -> str:
    value = place.isoformat() if isinstance(place, datetime) else place
    text = json.dumps([sort, value, str(video.id)], ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(wanted: LibraryFilter) -> tuple[Any, UUID]:
    cursor = wanted.cursor[:LONGEST_CURSOR]
    try:
        text = base64.urlsafe_b64decode((cursor + "=" * (-len(cursor) % 4)).encode("ascii")).decode()
        sort, value, identity = json.loads(text)
        place, video_id = SORTS[wanted.sort].read(value), parse_id(identity)
        is_odd = isinstance(place, str) and b"\0" in place.encode()
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError, binascii.Error):
        raise _refusal() from None
    if sort != wanted.sort or video_id is None or is_odd:
        raise _refusal()
    return place, video_id


def _refusal() -> Invalid:
    sentence = "This page address is not valid any more. Go back to the first page."
    return Invalid(sentence, {"cursor": "Leave it out."})
