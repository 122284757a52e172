"""From the sandbox to a real provider, with real processes: start, upload, stop, start with another server."""

from __future__ import annotations

import collections
import re
import time
from pathlib import Path

import pytest

from tests.crash.product import Sandbox
from tests.stack import Stack, wait_final

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
pytestmark = [pytest.mark.enable_socket, pytest.mark.timeout(400)]

SRT = b"1\n00:00:00,000 --> 00:00:05,000\nMy grandmother kept marzipan in a telescope.\n"
LATER = b"1\n00:00:00,000 --> 00:00:05,000\nThe quokka sleeps beside a walrus.\n"
OLD, NEW = "sandbox-embed", "text-embedding-3-small"


@pytest.fixture
def provider():
    """Another OpenAI-compatible server, which knows the names of OpenAI's models."""
    running = Sandbox()
    yield running
    running.stop()


def upload(api, talk, captions=None):
    files = {"file": (f"{talk}.mp4", (SAMPLES / f"{talk}.mp4").read_bytes(), "video/mp4")}
    if captions:
        files["captions"] = (f"{talk}.srt", captions, "text/plain")
    answer = api.post("/api/videos", files=files, data={"title": talk, "language": "en"})
    assert answer.status_code == 201, answer.text
    video = wait_final(api, answer.json()["id"])
    assert video["status"] == "completed", video
    return video["id"]


def models(api, *videos):
    return [
        sorted({chunk["model"] for chunk in api.get(f"/api/videos/{each}/chunks").json()["items"]}) for each in videos
    ]


def found(api, words):
    return [hit["video_id"] for hit in api.get("/api/search", params={"q": words}).json()["results"]]


def asked(provider):
    """Return how often each model of the second server was called."""
    return collections.Counter((call["path"].rpartition("/v1/")[2], call["model"]) for call in provider.calls())


def test_a_move_to_a_real_provider_leaves_search_right_and_makes_everything_again_on_demand(tmp_path, provider):
    stack = Stack(tmp_path / "data")
    with stack, stack.api("mover@example.org") as api:
        spoken, written = upload(api, "tides"), upload(api, "bread", SRT)
        assert models(api, spoken, written) == [[OLD], [OLD]]
        assert found(api, "moon") == [spoken] * len(found(api, "moon")) != []
        assert "Sandbox models" in api.get("/videos").text
        assert "made by the sandbox" not in api.get("/videos").text
        draft = api.get(f"/api/videos/{spoken}/transcript.json").json()

        stack.stop()
        stack.environment |= {"OPENAI_BASE_URL": provider.url, "OPENAI_API_KEY": "another"}
        stack.start()
        _search_is_right_though_the_vectors_are_of_another_model(api, provider, spoken, written)
        later = upload(api, "trees", LATER)
        _each_vector_is_compared_with_its_own_model_only(api, provider, spoken, written, later)
        _the_banner_counts_and_everything_is_made_again(api, provider, spoken, written)
        assert models(api, spoken, written, later) == [[NEW], [NEW], [NEW]]
        assert api.get(f"/api/videos/{spoken}/transcript.json").json() != draft
        assert "My grandmother" in api.get(f"/api/videos/{written}/transcript.txt").text
        _search_uses_the_new_vectors(api, provider, spoken, written)


def _search_is_right_though_the_vectors_are_of_another_model(api, provider, spoken, written):
    provider.reset()
    assert set(found(api, "moon")) == {spoken}
    assert set(found(api, "marzipan telescope")) == {written}
    assert found(api, "xylophone") == []
    assert asked(provider) == {}  # there is no vector that a query of the new model could be compared with
    assert "Sandbox models" not in api.get("/videos").text


def _each_vector_is_compared_with_its_own_model_only(api, provider, spoken, written, later):
    assert models(api, spoken, written, later) == [[OLD], [OLD], [NEW]]
    provider.reset()
    assert found(api, "quokka")[0] == later
    assert asked(provider) == {("embeddings", NEW): 1}
    assert set(found(api, "moon")) == {spoken}  # by words: its vectors are not looked at, and the new one does not fit
    assert set(found(api, "marzipan")) == {written}


def _the_banner_counts_and_everything_is_made_again(api, provider, spoken, written):
    for page in ("/videos", "/"):
        shown = re.search(r"2 videos were made by the sandbox: transcribe again, about \$0\.\d\d", api.get(page).text)
        assert shown, page
    provider.reset()
    answer = api.post("/videos/renew")
    assert answer.status_code == 303
    api.post("/videos/renew")  # asked twice
    deadline = time.monotonic() + 240
    while models(api, spoken, written) != [[NEW], [NEW]]:
        assert set(found(api, "moon")) == {spoken}  # what is there is served meanwhile
        assert time.monotonic() < deadline, (models(api, spoken, written), api.get(f"/api/videos/{spoken}").json())
        time.sleep(0.2)
    assert wait_final(api, spoken)["status"] == "completed"
    heard = [call["content_hash"] for call in provider.calls() if call["path"].endswith("/transcriptions")]
    assert len(heard) == len(set(heard)) > 0  # each piece of the spoken talk once, none of the captioned one
    assert set(asked(provider)) >= {("audio/transcriptions", "gpt-transcribe"), ("embeddings", NEW)}
    assert "made by the sandbox" not in api.get("/videos").text


def _search_uses_the_new_vectors(api, provider, spoken, written):
    provider.reset()
    assert found(api, "the moon pulls")[0] == spoken
    assert found(api, "grandmother marzipan")[0] == written
    assert asked(provider) == {("embeddings", NEW): 2}
