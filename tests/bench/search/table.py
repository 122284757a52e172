"""The table of search: how many of the true ten nearest are found, and how long each part takes."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import psycopg

from app import create_app
from app.adapters import llm
from app.db import db
from app.settings import Settings
from app.videos import queries_search, search, service_search
from tests import schema
from tests.bench.search.load import MODEL, Person, fill, fill_cues
from tests.bench.search.talks import Talks, Vectors
from tests.factories import make_user
from tests.services import Services, database_url, redis_url, run_sql

QUESTIONS = 100
WORDS_EACH, WORDS_EACH_OF_OTHERS = 600, 60  # others' vectors are in the way, their words only in the index
NEAREST = 10
LEAST_RECALL, MOST_MS = 0.98, 50
INDEX = "CREATE INDEX ix_chunk_embedding ON chunk USING hnsw (embedding halfvec_cosine_ops) WHERE is_served"
BARE = "SELECT count(*) FROM chunk WHERE owner_id = %s AND embedding <=> %s::halfvec < -1"


def print_table(sizes: Sequence[int]) -> None:
    """Fill a database of its own step by step, and measure at each size."""
    services = Services()
    services.start()
    try:
        run_sql("CREATE DATABASE bench_search")
        schema.migrate(database_url("bench_search"))
        with create_app(_settings()).app_context():
            talks = Talks(1)
            people = [
                Person(make_user("bench@example.org").id, WORDS_EACH),
                Person(make_user("others@example.org").id, WORDS_EACH_OF_OTHERS),
            ]
            _say(f"{'chunks':>8} {'recall@10':>10}  {'vectors p50 / p95':>18} {'of a bare scan':>15}"
                 f"  {'words p50 / p95':>18}  {'whole p50 / p95':>18}")  # fmt: skip
            for size in sorted(sizes):
                _grow(talks, people, size)
                _measure(talks, people[0])
    finally:
        services.stop()


def _settings() -> Settings:
    return Settings(
        environment="test",
        secret_key="bench-secret-key-of-thirty-two-characters",
        data_dir=Path(tempfile.mkdtemp()),
        database_url=database_url("bench_search"),
        redis_url=redis_url(0),
        redis_namespace="bench",
        log_level="error",
    )


def _address() -> str:
    return database_url("bench_search").replace("+psycopg", "")


def _grow(talks: Talks, people: Sequence[Person], size: int) -> None:
    # The index is built after the rows, which is many times faster; in an installation it grows with them.
    run_sql("DROP INDEX IF EXISTS ix_chunk_embedding", database="bench_search")
    for person in people:
        fill(_address(), talks, person, size)
    run_sql("SET maintenance_work_mem = '2GB'", INDEX, "VACUUM ANALYZE", database="bench_search")


def _measure(talks: Talks, person: Person) -> None:
    texts, vectors = talks.questions(person.said, person.means, QUESTIONS)
    found: list[list[Any]] = []
    by_vector = [
        _timed(lambda v=v: found.append(queries_search.find_by_vector(person.owner_id, MODEL, v))) for v in vectors
    ]
    recall = _recall(person, vectors, found)
    bare = _bare(person, vectors[:20])
    tiers = [search.parse(text).tiers for text in texts]
    by_words = [_timed(lambda t=t: found.append(queries_search.find_by_words(person.owner_id, t))) for t in tiers]
    fill_cues(_address(), talks, person, {each.id for some in found for each in some})
    whole = _whole(person, texts, vectors)
    is_good = recall >= LEAST_RECALL and np.quantile(by_vector, 0.95) < MOST_MS
    _say(
        f"{len(person.ids):8,} {recall:10.3f}  {_spread(by_vector)} {np.median(by_vector) / bare:13.2f} x"
        f"  {_spread(by_words)}  {_spread(whole)}  {'ok' if is_good else 'MISSED'}"
    )


def _recall(person: Person, vectors: Vectors, found: Sequence[Sequence[Any]]) -> float:
    """Return which share of the NEAREST by plain arithmetic were found."""
    true = [
        {person.ids[row] for row in np.argpartition(-each, NEAREST)[:NEAREST]} for each in vectors @ person.vectors.T
    ]
    shares = [
        len({each.id for each in some[:NEAREST]} & wanted) / NEAREST for some, wanted in zip(found, true, strict=True)
    ]
    return float(np.mean(shares))


def _bare(person: Person, vectors: Vectors) -> float:
    """Return how long it takes to compare every vector of the person and do nothing else, in ms."""
    with psycopg.connect(_address(), autocommit=True) as connection:
        return float(
            np.median(
                [_timed(lambda v=v: connection.execute(BARE, (person.owner_id, str(v.tolist())))) for v in vectors]
            )
        )


def _whole(person: Person, texts: Sequence[str], vectors: Vectors) -> list[float]:
    """Return how long whole searches take, but for the call that embeds the question."""
    answers = dict(zip(texts, vectors, strict=True))

    def embed(_owner: Any, asked: Sequence[str], **_: Any) -> llm.Embedded:
        return llm.Embedded((tuple(answers[asked[0]].tolist()),), 1)

    embedder = mock.Mock(model=MODEL)
    with mock.patch.object(service_search, "embed", embed), mock.patch.object(llm, "embedder", return_value=embedder):
        return [_timed(lambda t=t: service_search.search_videos(person.owner_id, t)) for t in texts]


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    took = (time.perf_counter() - began) * 1000
    db.session.rollback()
    return took


def _spread(times: Sequence[float]) -> str:
    return f"{np.median(times):8.1f} / {np.quantile(times, 0.95):6.1f} ms"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
