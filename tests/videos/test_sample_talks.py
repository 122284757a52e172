"""The three sample talks through the real pipeline and the real sandbox: what is said is found where it is said."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from werkzeug.serving import make_server

from app import engine
from app.accounts.models import UsageEntry
from app.adapters import llm
from app.adapters.llm_openai import OpenAIEmbedder, OpenAITranscriber
from app.db import db
from app.engine import testing
from app.sandbox import create_sandbox
from app.settings import Provider
from app.videos import queries_transcript as queries
from app.videos import service_search
from app.videos.models import Video
from tests.sandbox.helpers import word_error_rate
from tests.videos.talks import SAMPLES, about, make_video, say_uploaded

NAMES = ("tides", "bread", "trees")


@pytest.fixture(scope="module")
def sandbox_url() -> Iterator[str]:
    """A sandbox served from this process."""
    sandbox = create_sandbox()
    server = make_server("127.0.0.1", 0, sandbox, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()
    sandbox.extensions["sandbox"].recognition.close()


def use(app, url, model):
    settings = app.settings.but(
        transcription=Provider(url, "any", model, is_sandbox=True),
        embeddings=Provider(url, "any", "text-embedding-3-small", is_sandbox=True),
    )
    llm.install(
        app, transcriber=OpenAITranscriber.from_settings(settings), embedder=OpenAIEmbedder.from_settings(settings)
    )


@pytest.fixture(params=[("sandbox-transcribe", NAMES), ("text-only", ("tides",))], ids=["times", "text-only"])
def talks(request, app, alice, sandbox_url, tmp_path) -> Iterator[dict[str, Video]]:
    """The three samples heard by a model that returns times, and one of them by a model that returns text only."""
    model, names = request.param
    use(app, sandbox_url, model)
    made = {}
    for name in names:
        captions = about(name)["captions"]
        beside = (SAMPLES / captions).read_bytes() if captions else None
        made[name] = make_video(
            alice.user, tmp_path, sample=name, captions=beside, duration_seconds=about(name)["duration_seconds"]
        )
        say_uploaded(made[name])
    testing.drain(advance=True)
    yield {name: db.session.get(Video, video.id, populate_existing=True) for name, video in made.items()}
    llm.install(app)


@pytest.mark.timeout(300)
def test_a_phrase_over_the_three_talks_lands_on_the_right_one_within_five_seconds(alice, talks):
    assert [(video.status, video.error_message) for video in talks.values()] == [("completed", None)] * len(talks)
    wrong = []
    for name, video in talks.items():
        for phrase in about(name)["phrases"]:
            hits = service_search.search_videos(alice.user.id, phrase["text"])
            first = hits[0] if hits else None
            if first is None or first.video.id != video.id or abs(first.moment.start_seconds - phrase["seconds"]) > 5:
                wrong.append((name, phrase, first and (first.video.title, first.moment)))
    assert wrong == []
    for name, video in talks.items():
        if not about(name)["captions"]:
            text = " ".join(line.text for line in queries.list_lines(video.transcript_id))
            assert word_error_rate((SAMPLES / about(name)["script"]).read_text(), text) < 0.30, (name, text)
    for nothing in ("xylophone quartet zebra", "quantum chromodynamics"):
        assert service_search.search_videos(alice.user.id, nothing) == []
    for video in talks.values():
        made = queries.list_cues(video.transcript_id)
        assert all(len(line) <= 42 for cue in made for line in cue.text.split("\n"))
        assert all(cue.end - cue.start <= 5.5 + 1e-6 for cue in made)
        assert all(word.end >= word.start for cue in made for word in cue.words)
    entries = db.session.scalars(sa.select(UsageEntry)).all()
    assert {entry.kind for entry in entries} == {"transcription", "embeddings"}
    assert len(engine.list_runs(workflow="generate-embeddings", status="completed")) == len(talks)
