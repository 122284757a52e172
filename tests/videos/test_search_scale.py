"""Search beyond the number of chunks that are all compared: the index is used, and drops, mixes and keeps nothing."""

from __future__ import annotations

import numpy as np
import pytest
import sqlalchemy as sa

from app.db import db
from app.lib.clock import now
from app.lib.ids import new_id
from app.videos import queries_search
from app.videos.models import DIMENSIONS, Chunk
from tests.videos.talks import give_transcript, make_video

COUNT = 300
AROUND = np.random.default_rng(0).standard_normal(DIMENSIONS)
ASKED = AROUND + 0.5 * np.random.default_rng(9).standard_normal(DIMENSIONS)


def fill(user, tmp_path, title, model="m", *, seed, count=COUNT):
    """Give somebody a video with chunks around one direction; returns it and their vectors by id."""
    dice = np.random.default_rng(seed)
    video = make_video(user, tmp_path, sample="", title=title)
    give_transcript(video, "a talk about rings")
    vectors = {new_id(): AROUND + dice.standard_normal(DIMENSIONS) for _ in range(count)}
    db.session.execute(
        sa.insert(Chunk),
        [
            {
                "id": chunk_id, "owner_id": user.id, "video_id": video.id, "transcript_id": video.transcript_id,
                "run_id": video.id, "index": number, "text": "rings", "start_seconds": 0.0, "end_seconds": 1.0,
                "first_segment": 0, "last_segment": 0, "words": 1, "model": model, "embedding": list(vector),
                "is_served": True, "search_text": "rings", "created_at": now(),
            }
            for number, (chunk_id, vector) in enumerate(vectors.items())
        ],
    )  # fmt: skip
    db.session.commit()
    return video, vectors


def nearest(vectors, count=queries_search.MOST_CANDIDATES):
    asked = ASKED.astype(np.float16).astype(np.float64)

    def cosine(vector):
        vector = vector.astype(np.float16).astype(np.float64)  # as it is stored
        return vector @ asked / np.linalg.norm(vector)

    return sorted(vectors, key=lambda chunk_id: -cosine(vectors[chunk_id]))[:count]


@pytest.fixture
def limits(monkeypatch):
    """Make the numbers of search small."""

    def set_them(**values):
        for name, value in values.items():
            monkeypatch.setattr(queries_search, name, value)

    return set_them


@pytest.fixture
def plans(app):
    """The plans of the statements that compare vectors."""
    seen = []

    def explain(connection, _cursor, statement, parameters, *_):
        if "<=>" in statement and not statement.startswith("EXPLAIN"):
            seen.append("\n".join(connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars()))

    sa.event.listen(db.engine, "before_cursor_execute", explain)
    yield seen
    sa.event.remove(db.engine, "before_cursor_execute", explain)


def found_by(user, **more):
    return [each.id for each in queries_search.find_by_vector(user.id, "m", list(ASKED), **more)]


def test_up_to_the_limit_all_are_compared(alice, tmp_path, plans):
    _, vectors = fill(alice.user, tmp_path, "One", seed=1)
    assert found_by(alice.user) == nearest(vectors)
    assert "ix_chunk_embedding" not in plans[0]


def test_beyond_it_the_index_is_walked_past_the_chunks_of_others(alice, charlie, tmp_path, plans, limits):
    limits(EXACT_SCAN_ROWS=100, NEAREST_FIRST=40)
    _, vectors = fill(alice.user, tmp_path, "One", seed=1)
    fill(charlie.user, tmp_path, "Charlie's", seed=2, count=5 * COUNT)
    fill(alice.user, tmp_path, "Other model", "n", seed=3)
    found = found_by(alice.user)
    assert "ix_chunk_embedding" in plans[0]
    assert len(found) == queries_search.MOST_CANDIDATES
    assert set(found) <= set(vectors)
    assert len(set(found[:10]) & set(nearest(vectors, 10))) >= 9
    assert len(plans) == 1


def test_what_is_deleted_or_not_served_does_not_come_back(alice, tmp_path, limits):
    limits(EXACT_SCAN_ROWS=100)
    gone, _ = fill(alice.user, tmp_path, "Gone", seed=1)
    kept, vectors = fill(alice.user, tmp_path, "Kept", seed=2)
    gone.deleted_at = now()
    hidden = nearest(vectors, 5)
    db.session.execute(sa.update(Chunk).where(Chunk.id.in_(hidden)).values(is_served=False))
    db.session.commit()
    found = found_by(alice.user)
    assert set(found) <= set(vectors) - set(hidden)
    assert found_by(alice.user, video_id=kept.id)[:5] == found[:5]


def test_a_walk_that_ends_too_early_is_followed_by_comparing_all(alice, charlie, tmp_path, plans, limits):
    limits(EXACT_SCAN_ROWS=10, NEAREST_FIRST=10, MOST_WALKED=1)
    _, vectors = fill(alice.user, tmp_path, "Few", seed=1, count=60)
    fill(charlie.user, tmp_path, "Charlie's", seed=2, count=4 * COUNT)
    assert found_by(alice.user) == nearest(vectors)
    assert len(plans) == 2


def test_what_was_set_for_the_walk_does_not_stay(alice, tmp_path, limits):
    limits(EXACT_SCAN_ROWS=100)
    fill(alice.user, tmp_path, "One", seed=1)
    found_by(alice.user)
    assert db.session.scalar(sa.text("SHOW enable_sort")) == "on"
    db.session.commit()
    assert db.session.scalar(sa.text("SELECT current_setting('hnsw.ef_search')")) == "40"


def test_vectors_lie_in_the_rows_themselves(app):
    stored = sa.text("SELECT attstorage FROM pg_attribute WHERE attrelid = 'chunk'::regclass AND attname = 'embedding'")
    assert db.session.scalar(stored) in ("p", b"p")
