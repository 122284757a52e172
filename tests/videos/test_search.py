"""Search over one's videos: the right talk, the right moment, nobody else's."""

from __future__ import annotations

import pytest

from app.adapters import llm
from app.adapters.llm_fakes import FakeEmbedder, FakeTranscriber
from app.db import db
from app.errors import Transient
from app.videos import service_search
from app.videos.models import Chunk
from tests.videos.talks import give_transcript, make_video

FILLER = "and so the speaker went on about this and that for quite a while without any haste " * 12
RINGS = FILLER + "consistent hashing puts every server on a ring of numbers " + FILLER
YEAST = FILLER + "the dough needs time because yeast works slowly in the cold " + FILLER


@pytest.fixture(autouse=True)
def embedder(app):
    made = FakeEmbedder()
    llm.install(app, transcriber=FakeTranscriber(), embedder=made)
    yield made
    llm.install(app)


@pytest.fixture
def rings(alice, tmp_path):
    video = make_video(alice.user, tmp_path, sample="", title="Rings")
    give_transcript(video, RINGS, model="yes")
    return video


@pytest.fixture
def bread(alice, tmp_path):
    video = make_video(alice.user, tmp_path, sample="", title="Bread")
    give_transcript(video, YEAST, model="yes")
    return video


def seconds_of(text, phrase):
    return text.split().index(phrase.split()[0]) * 0.4


def test_a_phrase_lands_on_the_right_talk_within_five_seconds(alice, rings, bread):
    for video, text, phrase in ((rings, RINGS, "server on a ring"), (bread, YEAST, "yeast works slowly")):
        hit = service_search.search_videos(alice.user.id, phrase)[0]
        assert hit.video.id == video.id
        assert abs(hit.moment.start_seconds - seconds_of(text, phrase)) <= 5
        assert hit.moment.end_seconds - hit.moment.start_seconds <= 15


def test_nothing_found_is_an_answer(alice, rings, bread):
    assert service_search.search_videos(alice.user.id, "volcano eruption lava") == []
    assert service_search.search_videos(alice.user.id, "") == []
    assert service_search.search_videos(alice.user.id, "!!!") == []


def test_only_ones_own_videos_are_found(charlie, root, rings):
    assert service_search.search_videos(charlie.user.id, "consistent hashing") == []
    assert service_search.search_videos(root.user.id, "consistent hashing") == []


def test_a_search_in_one_video_finds_only_there(alice, rings, bread):
    hits = service_search.search_videos(alice.user.id, "speaker haste", video_id=bread.id)
    assert {hit.video.id for hit in hits} == {bread.id}


def test_k_bounds_the_hits(alice, rings, bread):
    assert len(service_search.search_videos(alice.user.id, "speaker", k=2)) == 2


def test_vectors_of_another_model_are_not_compared_but_words_still_count(alice, rings, embedder):
    embedder.model = "another"
    before = len(embedder.calls)
    assert service_search.search_videos(alice.user.id, "consistent hashing")
    assert len(embedder.calls) == before


def test_words_decide_when_the_model_cannot_be_reached(alice, rings, embedder):
    embedder.script = [Transient("Down.")]
    assert service_search.search_videos(alice.user.id, "consistent hashing")[0].video.id == rings.id


def test_a_hit_by_meaning_alone_points_to_the_chunk(alice, rings, embedder, monkeypatch):
    vector = [float(value) for value in db.session.query(Chunk).first().embedding]
    monkeypatch.setattr(embedder, "embed", lambda _texts, **_more: llm.Embedded((tuple(vector),), 3))
    hits = service_search.search_videos(alice.user.id, "volcano eruption lava")
    assert [hit.video.id for hit in hits] == [rings.id]
    assert hits[0].moment.marked == frozenset()


def test_deleted_videos_and_unfinished_sets_are_not_found(alice, rings, bread, execute):
    execute("UPDATE video SET deleted_at = now() WHERE id = :id", id=rings.id)
    execute("UPDATE chunk SET is_served = false WHERE video_id = :id", id=bread.id)
    assert service_search.search_videos(alice.user.id, "speaker") == []


def test_the_overlap_of_chunks_gives_no_double_hits(alice, tmp_path):
    video = make_video(alice.user, tmp_path, sample="")
    words = [f"w{number}" for number in range(1500)]
    words[790:890] = ["overlapping"] + [f"x{number}" for number in range(99)]
    give_transcript(video, " ".join(words), model="yes")
    assert len(service_search.search_videos(alice.user.id, "overlapping")) == 1
