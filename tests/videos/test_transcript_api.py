"""The reads for programs, as the contract has them."""

from __future__ import annotations

import pytest
from werkzeug.http import parse_options_header

from app.accounts import service as accounts
from app.adapters import llm
from app.adapters.llm_fakes import FakeEmbedder, FakeTranscriber
from app.db import db
from app.engine import testing
from app.videos import captions, events
from tests.videos.talks import give_transcript, make_video

TEXT = "consistent hashing puts every server on a ring so that a key finds its place. "


@pytest.fixture
def video(app, alice, tmp_path):
    llm.install(app, transcriber=FakeTranscriber(), embedder=FakeEmbedder())
    made = make_video(alice.user, tmp_path, sample="", title="Rings / and: things")
    give_transcript(made, TEXT * 100, model="yes")
    yield made
    llm.install(app)


def test_the_json_transcript_has_the_contracts_shape(alice, video):
    found = alice.get(f"/api/videos/{video.id}/transcript.json").json
    assert set(found) == {"language", "segments"}
    assert set(found["segments"][0]) == {"start_seconds", "end_seconds", "text", "speaker", "confidence"}
    assert found["segments"][0]["start_seconds"] == 0.0


@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_captions_are_valid_and_within_their_limits(alice, video, form):
    answer = alice.get(f"/api/videos/{video.id}/transcript.{form}")
    assert answer.content_type.endswith("charset=utf-8")
    found = captions.parse(answer.data)
    assert found[0].start == 0.0
    assert all(len(line) <= 42 for each in found for line in each.text.split("\n"))


def test_a_download_has_a_safe_name(alice, video):
    answer = alice.get(f"/api/videos/{video.id}/transcript.txt?download=1")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="Rings and things.txt"'


@pytest.mark.parametrize(
    ("title", "plain", "name"),
    [
        ("Прилив und Ebbe 潮汐", "und Ebbe.txt", "Прилив und Ebbe 潮汐.txt"),
        ("潮汐", "transcript.txt", "潮汐.txt"),
        ("Café", "Cafe.txt", "Café.txt"),
    ],
)
def test_a_download_is_named_in_any_script_with_a_header_that_servers_can_send(alice, video, title, plain, name):
    video.title = title
    db.session.commit()
    header = alice.get(f"/api/videos/{video.id}/transcript.txt?download=1").headers["Content-Disposition"]
    assert header.isascii()
    kind, given = parse_options_header(header)
    assert (kind, given["filename"]) == ("attachment", name)
    assert f'filename="{plain}"' in header or f"filename={plain}" in header


def test_an_unknown_format_is_404_in_json(alice, video):
    answer = alice.get(f"/api/videos/{video.id}/transcript.exe")
    assert (answer.status_code, answer.json["error"]) == (404, "not_found")


def test_chunks_have_the_contracts_shape(alice, video):
    items = alice.get(f"/api/videos/{video.id}/chunks").json["items"]
    assert set(items[0]) == {"index", "text", "start_seconds", "end_seconds", "words", "model"}
    assert [item["index"] for item in items] == list(range(len(items)))
    assert all(500 <= item["words"] <= 1000 for item in items)


def test_search_has_the_contracts_shape(alice, video):
    results = alice.get("/api/search?q=consistent+hashing&k=3").json["results"]
    assert len(results) == 3
    assert set(results[0]) == {"video_id", "title", "start_seconds", "end_seconds", "snippet", "score"}
    assert results[0]["video_id"] == str(video.id)


@pytest.mark.parametrize("k", ["0", "51", "-1", "x", "1e3", "٣", "9" * 5000])
def test_a_wrong_k_is_refused_with_a_sentence(alice, video, k):
    answer = alice.get("/api/search", query_string={"q": "ring", "k": k})
    assert (answer.status_code, answer.json["details"][0]["path"]) == (422, "k")


@pytest.mark.parametrize(
    "path",
    [
        "/api/search?q=ring&video=nonsense",
        "/api/videos/nonsense/chunks",
        "/api/videos/00000000-0000-0000-0000-000000000000/chunks",
    ],
)
def test_what_does_not_exist_is_404(alice, video, path):
    assert alice.get(path).status_code == 404


@pytest.mark.parametrize(
    "q", ["%00", "%F0%9F%98%80", "'); DROP TABLE video; --", "a" * 5000, "( & | !", "\\", "%", "<->"]
)
def test_hostile_queries_are_answered(alice, video, q):
    assert alice.get("/api/search", query_string={"q": q}).status_code == 200


def test_reprocessing_is_accepted_for_ones_own_videos_only(client, alice, charlie, video):
    path = "/api/videos/reprocess-embeddings"
    mine, foreign = ({"Authorization": f"Bearer {accounts.create_key(each.user.email)}"} for each in (alice, charlie))
    db.session.commit()
    assert client.post(path, json={"video_ids": [str(video.id)]}, headers=mine).status_code == 202
    testing.assert_sent(events.BATCH_REPROCESS, video_ids=[str(video.id)])
    assert client.post(path, json={"video_ids": [str(video.id)]}, headers=foreign).status_code == 404
    assert client.post(path, json={}).status_code == 401
    for body, status in (({"video_ids": "x"}, 422), ({"video_ids": [7]}, 404), ([], 422)):
        assert client.post(path, json=body, headers=mine).status_code == status
