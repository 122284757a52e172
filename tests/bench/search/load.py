"""Fill the tables of search by COPY: videos, transcripts, chunks with their vectors, and cues where they are read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import numpy as np
import psycopg
import sqlalchemy as sa
from pgvector import HalfVector
from pgvector.psycopg import register_vector

from app.db import db
from app.lib.clock import now
from app.lib.ids import new_id
from app.videos.models import Chunk, Segment, Transcript, Video
from tests.bench.search.talks import DIMENSIONS, MEANINGS, Numbers, Talks, Vectors

MODEL = "bench-embed"
TALK_OF = 12  # chunks
SECONDS_A_WORD = 0.4
WORDS_A_CUE = 12
COLUMNS = {
    "id": "uuid", "owner_id": "uuid", "video_id": "uuid", "transcript_id": "uuid", "run_id": "uuid", "index": "int4",
    "text": "text", "start_seconds": "float8", "end_seconds": "float8", "first_segment": "int4", "last_segment": "int4",
    "words": "int4", "model": "varchar", "embedding": "halfvec", "is_served": "bool", "search_text": "text",
    "created_at": "timestamptz",
}  # fmt: skip


@dataclass
class Person:
    """Somebody's chunks in memory, in the order in which they were stored."""

    owner_id: UUID
    words_each: int
    said: Numbers = field(init=False)
    means: Vectors = field(default_factory=lambda: np.empty((0, MEANINGS), np.float32))
    vectors: Vectors = field(default_factory=lambda: np.empty((0, DIMENSIONS), np.float32))
    ids: list[UUID] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.said = np.empty((0, self.words_each), np.int64)


@dataclass(frozen=True)
class Talk:
    """The rows that the chunks of one talk point to."""

    video_id: UUID
    transcript_id: UUID


def fill(address: str, talks: Talks, person: Person, count: int) -> None:
    """Give a person talks until they have `count` chunks."""
    before = len(person.ids)
    seed = before + person.words_each
    said, means = talks.chunks(count - before, person.words_each, TALK_OF, seed)
    vectors = talks.vectors(means, seed)
    made = _talks(person.owner_id, -(-len(said) // TALK_OF))
    ids = [new_id() for _ in said]
    with psycopg.connect(address) as connection:
        register_vector(connection)
        names = ", ".join(f'"{name}"' for name in COLUMNS)
        with connection.cursor().copy(f"COPY chunk ({names}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(list(COLUMNS.values()))
            for number, (chunk, vector) in enumerate(zip(said, vectors, strict=True)):
                talk, index, text = made[number // TALK_OF], number % TALK_OF, talks.text(chunk)
                copy.write_row(
                    (ids[number], person.owner_id, talk.video_id, talk.transcript_id, talk.transcript_id, index, text,
                     *_span(index, len(chunk)), len(chunk), MODEL, HalfVector(vector), True, text, now())
                )  # fmt: skip
    person.said = np.concatenate([person.said, said])
    person.means = np.concatenate([person.means, means])
    person.vectors = np.concatenate([person.vectors, vectors])
    person.ids.extend(ids)


def fill_cues(address: str, talks: Talks, person: Person, wanted: Iterable[UUID]) -> None:
    """Store the cues of some chunks: millions that no query reads would only take time."""
    place = {chunk_id: number for number, chunk_id in enumerate(person.ids)}
    has = set(db.session.execute(sa.select(Segment.transcript_id, Segment.index)).tuples())
    rows = db.session.execute(
        sa.select(Chunk.id, Chunk.transcript_id, Chunk.index).where(Chunk.id.in_(list(wanted)))
    ).all()
    with psycopg.connect(address) as connection:
        names = "transcript_id, index, start_seconds, end_seconds, text, words, flags"
        with connection.cursor().copy(f"COPY segment ({names}) FROM STDIN") as copy:
            for chunk_id, transcript_id, index in rows:
                for cue in _cues(talks, person.said[place[chunk_id]], index):
                    if (transcript_id, cue[0]) not in has:
                        copy.write_row((transcript_id, *cue))


def _span(index: int, words: int) -> tuple[float, float, int, int]:
    cues = -(-words // WORDS_A_CUE)
    start = index * words * SECONDS_A_WORD
    return start, start + words * SECONDS_A_WORD, index * cues, (index + 1) * cues - 1


def _cues(talks: Talks, chunk: Numbers, index: int) -> Iterator[tuple[int, float, float, str, str, str]]:
    start, _, first, _ = _span(index, len(chunk))
    said = [talks.words[number] for number in chunk]
    for number, at in enumerate(range(0, len(said), WORDS_A_CUE)):
        words = [
            [word, round(start + n * SECONDS_A_WORD, 2), round(start + (n + 0.9) * SECONDS_A_WORD, 2), 0.9]
            for n, word in enumerate(said[at : at + WORDS_A_CUE], at)
        ]
        yield first + number, words[0][1], words[-1][2], " ".join(word[0] for word in words), json.dumps(words), "[]"


def _talks(owner_id: UUID, count: int) -> list[Talk]:
    made = [Talk(new_id(), new_id()) for _ in range(count)]
    at: datetime = now()
    for start in range(0, count, 1000):
        some = made[start : start + 1000]
        db.session.execute(sa.insert(Video), [_video(owner_id, talk, start + n) for n, talk in enumerate(some)])
        db.session.execute(
            sa.insert(Transcript),
            [
                {"id": talk.transcript_id, "video_id": talk.video_id, "run_id": new_id(),
                 "number": 1, "source": "model", "language": "en", "model": "test", "created_at": at}
                for talk in some
            ],
        )  # fmt: skip
    db.session.commit()
    return made


def _video(owner_id: UUID, talk: Talk, number: int) -> dict[str, object]:
    return {
        "id": talk.video_id, "owner_id": owner_id, "title": f"Talk {number}", "original_filename": "talk.mp4",
        "status": "completed", "storage_key": f"users/{owner_id}/videos/{talk.video_id}/source.mp4",
        "media_type": "video/mp4", "size_bytes": 1, "content_hash": f"{number:064x}", "duration_seconds": 3600.0,
        "container": "mp4", "transcript_id": talk.transcript_id,
    }  # fmt: skip
