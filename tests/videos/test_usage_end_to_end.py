"""What is metered is what the provider counted: through retries, a crash between call and record, and kept answers."""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import replace

import pytest
import sqlalchemy as sa
from flask import request
from werkzeug.serving import make_server

from app import engine
from app.accounts import service as accounts
from app.accounts import usage_report
from app.accounts.models import UsageEntry, UsageHold
from app.adapters import llm
from app.adapters.llm_openai import OpenAIEmbedder, OpenAITranscriber
from app.db import db
from app.engine import testing
from app.sandbox import create_sandbox
from app.settings import Provider
from app.videos import pages, service, transcribing
from app.videos.prices import audio_price, embedding_price
from tests.videos.talks import TEXT_ONLY, again, make_video, say_uploaded, usage


class Paid:
    """A model server that keeps its own account of what it was asked and what it counted."""

    def __init__(self) -> None:
        self.app = create_sandbox(slow_seconds=0.1)
        self.counted: Counter[str] = Counter()
        self.failures = 0  # so many calls of transcription are answered 503, and not counted
        self._lock = threading.Lock()
        self.app.before_request(self._fail)
        self.app.after_request(self._count)
        self._server = make_server("127.0.0.1", 0, self.app, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _fail(self):
        with self._lock:
            if request.path.endswith("/transcriptions") and self.failures:
                self.failures -= 1
                return {"error": {"message": "Not now."}}, 503
            return None

    def _count(self, answer):
        found = json.loads(answer.get_data()) if answer.status_code == 200 else {}
        with self._lock:
            used = found.get("usage", {})
            self.counted["calls"] += bool(used)
            self.counted["seconds"] += round(100 * used.get("seconds", 0))
            self.counted["tokens"] += used.get("total_tokens", 0)
        return answer

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.app.extensions["sandbox"].recognition.close()


@pytest.fixture(scope="module")
def _provider():
    made = Paid()
    yield made
    made.close()


@pytest.fixture
def provider(app, _provider, monkeypatch):
    """A provider that is paid, and three pieces to each talk."""
    _provider.counted.clear()
    at = Provider(_provider.url, "a key", "sandbox-transcribe"), Provider(_provider.url, "a key", "sandbox-embed")
    kept = app.settings
    app.settings = replace(kept, transcription=at[0], embeddings=at[1])
    llm.install(
        app,
        transcriber=OpenAITranscriber.from_settings(app.settings),
        embedder=OpenAIEmbedder.from_settings(app.settings),
    )
    monkeypatch.setattr(transcribing, "PIECE_SECONDS", 30.0)
    yield _provider
    app.settings = kept
    llm.install(app)


def metered() -> dict[str, float]:
    db.session.rollback()
    rows = db.session.execute(sa.select(UsageEntry.unit, sa.func.sum(UsageEntry.quantity)).group_by(UsageEntry.unit))
    return dict(rows.all())


def spent() -> int:
    return int(db.session.scalar(sa.select(sa.func.sum(UsageEntry.microusd))) or 0)


def assert_equal_to(provider: Paid) -> None:
    found = metered()
    assert found["seconds"] * 100 == pytest.approx(provider.counted["seconds"], abs=0.01)
    assert found["tokens"] == provider.counted["tokens"]
    assert provider.counted["calls"] == db.session.scalar(sa.select(sa.func.count()).select_from(UsageEntry))
    prices = {"transcription": audio_price, "embeddings": lambda tokens: embedding_price(int(tokens))}
    for entry in db.session.scalars(sa.select(UsageEntry)):
        assert entry.microusd == prices[entry.kind](entry.quantity) > 0
    assert db.session.scalar(sa.select(sa.func.count()).select_from(UsageHold)) == 0, "all is given back"


def test_usage_is_the_sum_of_the_provider_s_counts_through_failures_and_a_crash(
    alice, provider, mails, tmp_path, monkeypatch
):
    provider.failures = 1
    crashes = iter([True, False, True, False])
    record = accounts.record_usage

    def die_first(*args, **values):
        if next(crashes, False):
            raise SystemError("The process dies between the provider's answer and the entry.")
        return record(*args, **values)

    monkeypatch.setattr(accounts, "record_usage", die_first)
    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    testing.drain(advance=True)
    assert again(video).status == "completed"
    assert next(crashes, None) is None, "both crashes have happened"
    assert provider.counted["calls"] >= 4
    assert_equal_to(provider)
    assert pages.cost_of(again(video)) == spent() == usage_report.make(alice.user.id).spent_microusd
    page = alice.get(f"/videos/{video.id}").text
    assert "Cost so far" in page


def test_what_was_heard_already_is_not_paid_for_again(alice, provider, mails, tmp_path):
    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    testing.drain(advance=True)
    before, calls = spent(), provider.counted["calls"]
    service.transcribe_again(again(video))
    testing.drain(advance=True)
    assert again(video).status == "completed"
    assert provider.counted["calls"] == calls
    assert spent() == before


def test_a_budget_stops_the_call_that_would_exceed_it_and_a_retry_goes_on_after_it_is_raised(
    app, alice, models, mails, tmp_path
):
    models[0].capabilities = TEXT_ONLY
    models[0].otherwise = llm.Transcription("The sea rises and falls.", (), 25.0)
    most = audio_price(transcribing.TEXT_PIECE_SECONDS)
    alice.user.budget_microusd = 2 * most - 1  # one piece fits, and not two of the worst price
    db.session.commit()
    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    testing.drain(advance=True)
    first = len(models[0].calls)
    assert again(video).status == "failed"
    assert again(video).error_code == "over_budget"
    assert "ask an administrator to raise it, then retry" in again(video).error_message
    assert spent() <= alice.user.budget_microusd
    assert len(usage("transcription")) == first >= 1
    assert again(video).error_message in alice.get(f"/videos/{video.id}").text.replace("&#39;", "'")
    assert mails.sent[0].subject.startswith("Not finished")
    assert db.session.scalar(sa.select(sa.func.count()).select_from(UsageHold)) == 0

    accounts.change_limits(alice.user.id, by=alice.user.id, budget_microusd=100 * most, storage_quota_bytes=None)
    service.retry(again(video))
    testing.drain(advance=True)
    assert again(video).status == "completed"
    run = engine.list_runs(workflow="transcribe-video")[0]
    assert run.forked_from is not None, "the retry went on in a run of its own"
    names = [call.name for call in models[0].calls]
    assert len(names) == len(set(names)), "no piece was called for twice"


def test_a_failed_call_gives_back_what_was_set_aside_for_it(app, alice, models, mails, tmp_path):
    models[0].otherwise = ZeroDivisionError()
    video = make_video(alice.user, tmp_path)
    say_uploaded(video)
    testing.drain(advance=True)
    assert again(video).status == "failed"
    assert db.session.scalar(sa.select(sa.func.count()).select_from(UsageHold)) == 0


def test_a_video_that_cost_nothing_says_so(alice, models, tmp_path):
    assert "Cost so far</dt><dd>nothing" in alice.get(f"/videos/{make_video(alice.user, tmp_path).id}").text
