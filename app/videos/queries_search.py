"""Reads of search: which chunks may answer, by their words and by their vectors, and what is said in them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from app.db import db
from app.videos.models import Chunk, Segment, Video, owner_lexeme
from app.videos.moments import CueText

MOST_CANDIDATES = 40  # chunks of one search, by words and by meaning each, that are looked at
MOST_RANKED = 200  # chunks with the words of one tier among which they are chosen
EXACT_SCAN_ROWS = 10_000  # up to so many chunks of one person each vector is compared
# Beyond them the index is walked until enough of the person's own were met. How many are seen first, and at most: the
# figures with these numbers are in docs/decisions/0052.
NEAREST_FIRST = 200
MOST_WALKED = 40_000
SEARCH_MEMORY = "64MB"  # for the places of a common word; with less, the rows of whole pages are read to check them


@dataclass(frozen=True)
class Candidate:
    """A chunk that may answer a query; `similarity` is the cosine, -1..1, None when not asked."""

    id: UUID
    video_id: UUID
    transcript_id: UUID
    first_segment: int
    last_segment: int
    start_seconds: float
    end_seconds: float
    search_text: str
    similarity: float | None = None


def list_models(owner_id: UUID, video_id: UUID | None = None) -> Sequence[str]:
    """Return the models whose vectors a person's served chunks carry.

    Their index is hopped through from one model to the next: a hundred thousand entries for one name take 30 ms.
    """
    if video_id is not None:
        return db.session.scalars(
            sa.select(Chunk.model)
            .distinct()
            .where(Chunk.owner_id == owner_id, Chunk.video_id == video_id, Chunk.is_served)
        ).all()
    smallest = sa.select(sa.func.min(Chunk.model)).where(Chunk.owner_id == owner_id, Chunk.is_served)
    hops = sa.select(smallest.scalar_subquery().label("model")).cte("hops", recursive=True)
    following = smallest.where(Chunk.model > hops.c.model).correlate(hops).scalar_subquery()
    hops = hops.union_all(sa.select(following).where(hops.c.model.is_not(None)))
    return db.session.scalars(sa.select(hops.c.model).where(hops.c.model.is_not(None))).all()


def has_any(owner_id: UUID) -> bool:
    """Tell whether a person has a video that can be searched."""
    return bool(db.session.scalar(sa.select(sa.exists().where(Chunk.owner_id == owner_id, Chunk.is_served))))


def find_by_words(owner_id: UUID, tiers: Sequence[str], video_id: UUID | None = None) -> list[Candidate]:
    """Return chunks of the first tiers that together have enough; those of an earlier tier first.

    Of a tier with more than MOST_RANKED chunks, so many of them are taken: to rank all that hold a common word would
    read every one of them. The owner is a word of the index, so other people's chunks are not looked at either.
    """
    found: dict[UUID, Candidate] = {}
    _set_locally(("work_mem", SEARCH_MEMORY))
    for tier in tiers:
        if len(found) >= MOST_CANDIDATES:
            break
        asked = sa.func.to_tsquery("simple", f"{owner_lexeme(owner_id)} & {tier}")
        wanted = _candidates(owner_id, video_id).where(Chunk.search.op("@@")(asked)).limit(MOST_RANKED)
        for row in db.session.execute(wanted):
            found.setdefault(row.id, Candidate(*row))
    return list(found.values())


def find_by_vector(
    owner_id: UUID, model: str, vector: Sequence[float], video_id: UUID | None = None, *, is_exact: bool = False
) -> list[Candidate]:
    """Return the chunks of `model` nearest to `vector` by cosine, best first.

    Up to EXACT_SCAN_ROWS chunks are all compared. With more, the index is walked from the nearest outwards until
    enough of the person's own were met (a filter on top of a plain walk would silently drop rows); should it end
    before that, all are compared after all. `is_exact`: always compare all, for vectors that no index fits.
    """
    if video_id is None and not is_exact and _has_more_than(owner_id, model, EXACT_SCAN_ROWS):
        found = _walk_index(owner_id, model, vector)
        if len(found) == MOST_CANDIDATES:
            return found
    return _compare_all(owner_id, model, vector, video_id)


def _has_more_than(owner_id: UUID, model: str, rows: int) -> bool:
    # Only what the index itself knows, so that no row is read; those not served yet count, too.
    some = sa.select(sa.literal(1)).where(Chunk.owner_id == owner_id, Chunk.model == model).offset(rows).limit(1)
    return db.session.scalar(some) is not None


def _compare_all(owner_id: UUID, model: str, vector: Sequence[float], video_id: UUID | None) -> list[Candidate]:
    # The index is sorted by distance, and not by this.
    similarity = (1 - Chunk.embedding.cosine_distance(list(vector))).label("similarity")
    nearest = _of_model(sa.select(Chunk.id, similarity), owner_id, model)
    if video_id is not None:
        nearest = nearest.where(Chunk.video_id == video_id)
    return _with_places(nearest.order_by(sa.desc("similarity"), Chunk.id).limit(MOST_CANDIDATES))


def _walk_index(owner_id: UUID, model: str, vector: Sequence[float]) -> list[Candidate]:
    distance = Chunk.embedding.cosine_distance(list(vector))
    _set_locally(
        ("hnsw.iterative_scan", "strict_order"),
        ("hnsw.ef_search", str(NEAREST_FIRST)),
        ("hnsw.max_scan_tuples", str(MOST_WALKED)),
        ("enable_sort", "off"),  # else the person's rows might be fetched by another index and sorted
    )
    nearest = _of_model(sa.select(Chunk.id, (1 - distance).label("similarity")), owner_id, model)
    found = _with_places(nearest.order_by(distance).limit(MOST_CANDIDATES))
    _set_locally(("enable_sort", "on"))
    return found


def _set_locally(*values: tuple[str, str]) -> None:
    """Set what holds until the end of the transaction."""
    db.session.execute(sa.select(*(sa.func.set_config(name, value, True) for name, value in values)))


def _with_places(nearest: sa.Select[Any]) -> list[Candidate]:
    """Fetch what belongs to the chunks that were found: their texts are read for these only."""
    near = nearest.subquery("nearest")
    rows = db.session.execute(sa.select(*_PLACE, near.c.similarity).join(near, near.c.id == Chunk.id))
    return sorted((Candidate(*row) for row in rows), key=lambda each: (-(each.similarity or 0), each.id))


def _of_model(wanted: sa.Select[Any], owner_id: UUID, model: str) -> sa.Select[Any]:
    return wanted.where(
        Chunk.owner_id == owner_id,
        Chunk.model == model,
        Chunk.is_served,
        Chunk.embedding.is_not(None),
        Chunk.video_id.not_in(_deleted(owner_id)),
    )


def _candidates(owner_id: UUID, video_id: UUID | None) -> sa.Select[*tuple[Any, ...]]:
    # "IS TRUE", since the index of words knows the owner too: to read all of theirs from another one helps nothing.
    is_theirs = (Chunk.owner_id == owner_id).is_(sa.true()) if video_id is None else Chunk.owner_id == owner_id
    wanted = sa.select(*_PLACE).where(is_theirs, Chunk.is_served, Chunk.video_id.not_in(_deleted(owner_id)))
    return wanted.where(Chunk.video_id == video_id) if video_id else wanted


def _deleted(owner_id: UUID) -> sa.Select[UUID]:
    """Select the few videos that are still there to be brought back."""
    return sa.select(Video.id).where(Video.owner_id == owner_id, Video.deleted_at.is_not(None))


def list_cue_texts(candidates: Sequence[Candidate]) -> dict[UUID, list[CueText]]:
    """Return the cues of each candidate by the chunk's id, in order, in one query."""
    found: dict[UUID, list[CueText]] = {candidate.id: [] for candidate in candidates}
    rows = db.session.execute(
        sa.select(Chunk.id, Segment.index, Segment.start_seconds, Segment.end_seconds, Segment.text)
        .join(
            Segment,
            sa.and_(
                Segment.transcript_id == Chunk.transcript_id,
                Segment.index.between(Chunk.first_segment, Chunk.last_segment),
            ),
        )
        .where(Chunk.id.in_(list(found)))
        .order_by(Chunk.id, Segment.index)
    )
    for chunk_id, index, start, end, text in rows:
        found[chunk_id].append(CueText(index, start, end, text))
    return found


def list_cue_words(wanted: Collection[tuple[UUID, int]]) -> dict[tuple[UUID, int], Sequence[Sequence[Any]]]:
    """Return the words of cues, `[text, start, end, confidence]` each, by transcript and number."""
    unnested = sa.func.unnest(
        sa.cast([transcript_id for transcript_id, _ in wanted], ARRAY(sa.Uuid)),
        sa.cast([index for _, index in wanted], ARRAY(sa.Integer)),
    )
    places = unnested.table_valued("transcript_id", "index", name="place").render_derived()
    rows = db.session.execute(
        sa.select(Segment.transcript_id, Segment.index, Segment.words).join(
            places,
            sa.and_(Segment.transcript_id == places.c.transcript_id, Segment.index == places.c.index),
        )
    )
    return {(transcript_id, index): words for transcript_id, index, words in rows}


def titles(video_ids: Collection[UUID]) -> dict[UUID, Video]:
    """Return videos by id."""
    return {video.id: video for video in db.session.scalars(sa.select(Video).where(Video.id.in_(video_ids)))}


_PLACE = (
    Chunk.id,
    Chunk.video_id,
    Chunk.transcript_id,
    Chunk.first_segment,
    Chunk.last_segment,
    Chunk.start_seconds,
    Chunk.end_seconds,
    Chunk.search_text,
)
