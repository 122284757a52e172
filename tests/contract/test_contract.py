"""The contract for programs, tried from outside against `throughline up` with nothing replaced."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx2
import pysubs2
import pytest

from tests.stack import Stack, wait_final

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
pytestmark = [pytest.mark.enable_socket, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with Stack(tmp_path_factory.mktemp("contract") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def api(stack):
    with stack.api("programmer@example.org") as client:
        yield client


@pytest.fixture(scope="module")
def stranger(stack):
    with stack.api("stranger@example.org") as client:
        yield client


@pytest.fixture(scope="module")
def talk():
    index = json.loads((SAMPLES / "index.json").read_text())
    return next(entry for entry in index if not entry["captions"])


@pytest.fixture(scope="module")
def video(api, talk):
    path = SAMPLES / talk["file"]
    with path.open("rb") as stream:
        answer = api.post(
            "/api/videos", files={"file": (path.name, stream, "video/mp4")}, data={"title": "A talk", "language": "en"}
        )
    assert answer.status_code == 201, answer.text
    created = answer.json()
    assert set(created) >= {"id", "title", "status", "url"}
    assert created["title"] == "A talk"
    return wait_final(api, created["id"])


def test_a_key_is_printed_alone(stack):
    assert re.fullmatch(r"\S{20,}\n", stack.cli("key", "create", "alone@example.org"))


def test_an_uploaded_talk_is_completed(video):
    assert video["status"] == "completed", video
    assert set(video) >= {"id", "title", "status", "progress", "duration_seconds", "language", "error"}
    assert set(video["progress"]) >= {
        "current_step",
        "completed_steps",
        "total_steps",
        "percent",
        "eta_seconds",
        "message",
        "errors",
    }
    assert video["progress"]["percent"] == 100
    assert video["error"] is None
    assert video["duration_seconds"] > 30


def test_the_transcript_comes_in_five_forms(api, video):
    base = f"/api/videos/{video['id']}/transcript"
    body = api.get(f"{base}.json").json()
    assert set(body) >= {"language", "segments"}
    assert set(body["segments"][0]) >= {"start_seconds", "end_seconds", "text", "speaker", "confidence"}
    starts = [segment["start_seconds"] for segment in body["segments"]]
    assert starts == sorted(starts)
    assert starts[0] >= 0
    for form in ("srt", "vtt"):
        cues = pysubs2.SSAFile.from_string(api.get(f"{base}.{form}").text)
        assert len(cues) == len(body["segments"])
        assert cues[0].start == pytest.approx(starts[0] * 1000, abs=2)
    assert api.get(f"{base}.vtt").text.startswith("WEBVTT")
    words = " ".join(segment["text"] for segment in body["segments"]).split()
    for form in ("txt", "md"):
        text = api.get(f"{base}.{form}")
        assert text.status_code == 200
        assert words[5] in text.text


def test_chunks_carry_times_and_their_model(api, video):
    items = api.get(f"/api/videos/{video['id']}/chunks").json()["items"]
    assert items
    assert set(items[0]) >= {"index", "text", "start_seconds", "end_seconds", "words", "model"}
    assert items[0]["words"] == len(items[0]["text"].split())


def test_a_phrase_is_found_where_it_is_said(api, video, talk):
    phrase = talk["phrases"][0]
    results = api.get("/api/search", params={"q": phrase["text"], "k": 5}).json()["results"]
    assert results[0]["video_id"] == video["id"]
    assert set(results[0]) >= {"video_id", "title", "start_seconds", "end_seconds", "snippet", "score"}
    assert abs(results[0]["start_seconds"] - phrase["seconds"]) <= 5


def test_the_list_pages_and_filters(api, video):
    body = api.get("/api/videos", params={"status": "completed", "q": "talk"}).json()
    assert set(body) >= {"items", "next_cursor"}
    assert video["id"] in [item["id"] for item in body["items"]]
    assert api.get("/api/videos", params={"status": "failed"}).json()["items"] == []


def test_a_stranger_sees_nothing(stranger, video):
    base = f"/api/videos/{video['id']}"
    for path in (
        "",
        "/transcript.json",
        "/transcript.txt",
        "/transcript.srt",
        "/transcript.vtt",
        "/transcript.md",
        "/chunks",
    ):
        assert stranger.get(base + path).status_code == 404, path
    for action in ("retry", "cancel", "reprocess"):
        assert stranger.post(f"{base}/{action}").status_code == 404
    assert stranger.patch(base, json={"title": "mine"}).status_code == 404
    assert stranger.delete(base).status_code == 404
    assert stranger.get("/api/search", params={"q": "the"}).json()["results"] == []
    assert stranger.get("/api/videos").json()["items"] == []


def test_nobody_gets_401(stack, video):
    for path in ("/api/videos", f"/api/videos/{video['id']}", "/api/search?q=x", f"/api/runs/{video['id']}"):
        assert httpx2.get(stack.url + path).status_code == 401, path
        assert httpx2.get(stack.url + path, headers={"Authorization": "Bearer nonsense"}).status_code == 401, path


def test_patch_reprocess_and_delete(api, video, talk):
    base = f"/api/videos/{video['id']}"
    assert api.patch(base, json={"title": "Renamed"}).json()["title"] == "Renamed"
    assert api.post(f"{base}/reprocess").status_code in (200, 202)
    assert wait_final(api, video["id"])["status"] == "completed"
    captioned = SAMPLES / talk["file"]
    with captioned.open("rb") as stream:
        again = api.post("/api/videos", files={"file": (captioned.name, stream, "video/mp4")})
    assert again.status_code == 409, "the same content is offered, not stored twice"
    assert api.delete(base).status_code in (200, 204)
    assert api.get(base).status_code == 404


def test_what_is_not_media_is_refused_with_a_sentence(api):
    answer = api.post("/api/videos", files={"file": ("notes.mp4", b"these are only words", "video/mp4")})
    assert answer.status_code in (400, 415, 422)
    assert set(answer.json()) >= {"error", "message", "details"}
    assert api.get("/api/videos", params={"q": "notes"}).json()["items"] == []


def test_health(stack):
    for path in ("/health", "/healthz", "/readyz"):
        assert httpx2.get(stack.url + path).status_code == 200
