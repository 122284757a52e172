"""The Models page: for administrators, without keys, with a test of each model that is paid and metered."""

from __future__ import annotations

import datetime as dt
import re

import pytest
import sqlalchemy as sa

from app.accounts import model_report
from app.accounts.models import UsageEntry
from app.accounts.routes.models import PRESETS
from app.adapters import llm
from app.adapters.llm_fakes import FakeChat, FakeEmbedder, FakeImages, FakeTranscriber
from app.db import db
from app.errors import Permanent
from app.lib.clock import now
from app.settings import CAPABILITIES, Provider, Settings
from tests.test_looks import assert_well_formed
from tests.videos.browsing import post


@pytest.fixture
def models(app):
    made = {"transcriber": FakeTranscriber(), "embedder": FakeEmbedder(), "chat": FakeChat(), "images": FakeImages()}
    llm.install(app, **made)
    yield made
    llm.install(app)


@pytest.fixture
def set_to(app):
    """Change the settings for one test."""
    before = app.settings

    def change(**values):
        app.settings = before.but(**values)

    yield change
    app.settings = before


def page(client):
    return client.get("/admin/models").get_data(as_text=True)


def test_it_shows_server_model_and_price_and_no_key(root, set_to):
    url = "http://user:hunter2@models.example.org:8000/v1?key=hunter2"
    provider = Provider(url, "hunter2", "my-model")
    set_to(**dict.fromkeys(CAPABILITIES, provider), audio_price_microusd_per_minute=4_500)
    shown = page(root)
    assert_well_formed(shown)
    assert "models.example.org:8000" in shown
    assert "my-model" in shown
    assert "$0.0045 a minute" in shown
    assert "hunter2" not in shown
    assert "user:" not in shown
    assert shown.count('aria-label="Test ') == len(CAPABILITIES)


def test_what_is_not_set_up_says_what_to_set_and_has_no_test(root):
    shown = page(root)
    assert "CHAT_BASE_URL" in shown
    assert 'aria-label="Test ' not in shown


def test_the_sandbox_is_called_by_its_name_and_free(root, set_to):
    set_to(chat=Provider("http://127.0.0.1:9/v1", "sandbox", "sandbox-chat", is_sandbox=True))
    line = next(line for line in model_report.make() if line.name == "chat")
    assert (line.is_sandbox, line.price) == (True, "free")
    assert "the sandbox on this machine" in page(root)


@pytest.mark.parametrize(
    ("days", "is_withdrawn", "is_soon", "words"),
    [(91, False, False, "withdraws this model on"), (90, False, True, "Ends soon"), (0, True, False, "Withdrawn")],
)
def test_a_model_that_is_or_will_be_withdrawn_is_told_of_in_time(  # noqa: PLR0917
    root, set_to, monkeypatch, days, is_withdrawn, is_soon, words
):
    on = now().date() + dt.timedelta(days=days)
    monkeypatch.setitem(model_report.llm_models.RETIREMENTS, "old", model_report.Retirement("old", on, "new-model"))
    set_to(chat=Provider("", "k", "old"))
    line = next(line for line in model_report.make() if line.name == "chat")
    assert (line.is_withdrawn, line.is_soon) == (is_withdrawn, is_soon)
    shown = page(root)
    assert words in shown
    assert "CHAT_MODEL=new-model" in shown


@pytest.mark.parametrize(
    ("capability", "fake", "kind"),
    [
        ("transcription", "transcriber", "transcription"),
        ("embeddings", "embedder", "embeddings"),
        ("chat", "chat", "chat"),
        ("images", "images", "images"),
    ],
)
def test_a_test_is_one_call_that_is_metered_and_shown(root, models, set_to, capability, fake, kind):  # noqa: PLR0917
    set_to(**dict.fromkeys(CAPABILITIES, Provider("", "k", "m")))
    answer = post(root, f"/admin/models/{capability}/test")
    shown = answer.get_data(as_text=True)
    assert answer.status_code == 200
    assert "It works" in shown
    assert " ms, " in shown
    assert len(models[fake].calls) == 1
    [entry] = db.session.scalars(sa.select(UsageEntry)).all()
    assert (entry.kind, entry.owner_id) == (kind, root.user.id)
    assert entry.microusd > 0


def test_the_plain_error_is_shown(root, models, set_to):
    set_to(**dict.fromkeys(CAPABILITIES, Provider("", "k", "m")))
    models["chat"].script = [Permanent("The model provider refuses our key.")]
    shown = post(root, "/admin/models/chat/test").get_data(as_text=True)
    assert "It does not work" in shown
    assert "refuses our key" in shown


def test_over_the_budget_nothing_is_called(root, models, set_to):
    set_to(**dict.fromkeys(CAPABILITIES, Provider("", "k", "m")), budget_person_microusd=1)
    for capability in CAPABILITIES:
        assert "raise it" in post(root, f"/admin/models/{capability}/test").get_data(as_text=True)
    assert not any(fake.calls for fake in models.values())


def test_two_tests_are_two_calls_whatever_is_kept(root, app, set_to, sandbox):
    provider = Provider(f"{sandbox.url}/v1", "any", "sandbox-chat")
    set_to(chat=provider, chat_api="responses")
    llm.install(app)
    for _ in range(2):
        assert "It works" in post(root, "/admin/models/chat/test").get_data(as_text=True)
    assert sandbox.calls()["count"] == 2
    llm.install(app)


@pytest.mark.parametrize("capability", list(CAPABILITIES))
def test_the_real_sandbox_passes_every_test(root, app, set_to, sandbox, capability):
    providers = {
        name: Provider(f"{sandbox.url}/v1", "any", model, is_sandbox=True) for name, (_, model) in CAPABILITIES.items()
    }
    set_to(**providers)
    llm.install(app)
    assert "It works" in post(root, f"/admin/models/{capability}/test").get_data(as_text=True)
    llm.install(app)


def test_there_is_no_such_page_for_others_and_no_other_test(alice, root, models):
    assert alice.get("/admin/models").status_code == 404
    assert post(alice, "/admin/models/chat/test").status_code == 404
    assert post(root, "/admin/models/everything/test").status_code == 404
    assert models["chat"].calls == []


def test_administrators_find_it_in_their_menu(root, alice):
    assert 'href="/admin/models"' in root.get("/").get_data(as_text=True)
    assert 'href="/admin/models"' not in alice.get("/").get_data(as_text=True)


@pytest.fixture
def failing(app, set_to, sandbox, monkeypatch):
    """Let chat be the sandbox's model that fails in this way."""
    monkeypatch.setattr("app.accounts.service.model_tests.PATIENCE_SECONDS", 0.2)

    def at(model, url=None):
        set_to(chat=Provider(url or f"{sandbox.url}/v1", "hunter2", model), chat_api="responses")
        llm.install(app)

    yield at
    llm.install(app)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("fault-401", "must check OPENAI_API_KEY or CHAT_API_KEY; then test again."),
        ("nobody-knows-it", "does not know the model nobody-knows-it. An administrator must set another one"),
        ("fault-quota", "must add credit there; then test again."),
        ("fault-429", "asks for a pause. Test again in 1 s."),
        ("fault-500", "See that the server runs and that CHAT_BASE_URL is its address; then test again."),
        ("fault-slow", "took too long to answer. See that the server runs"),
        ("fault-broken-json", "could not be read. See that the server runs"),
    ],
)
def test_what_goes_wrong_is_said_with_what_to_do_and_never_a_secret(root, failing, model, says):
    failing(model)
    shown = post(root, "/admin/models/chat/test").get_data(as_text=True)
    assert "It does not work" in shown
    assert says in " ".join(shown.split())
    assert "tried again" not in shown
    assert "Retry" not in shown
    assert "hunter2" not in shown


def test_a_server_that_is_not_there_is_said_at_once(root, failing):
    failing("m", "http://127.0.0.1:9/v1")
    assert "cannot be reached at the moment. See that the server runs" in post(
        root, "/admin/models/chat/test"
    ).get_data(as_text=True)


def test_the_price_of_a_test_is_shown_and_is_what_was_metered(root, models, set_to):
    set_to(**dict.fromkeys(CAPABILITIES, Provider("", "k", "m")), image_price_microusd=60_000)
    assert re.search(r"It works: [\d,]+ ms, \$0\.06", post(root, "/admin/models/images/test").get_data(as_text=True))
    assert db.session.scalars(sa.select(UsageEntry.microusd)).all() == [60_000]


@pytest.mark.parametrize(("title", "text"), [(title, text) for title, _, text in PRESETS])
def test_every_preset_is_settings_that_are_read_as_meant(title, text):
    lines = dict(line.split("=", 1) for line in text.splitlines())
    found = Settings.from_environment({"THROUGHLINE_ENV": "development"} | lines)
    meant = [name for name, (variable, _) in CAPABILITIES.items() if any(line.startswith(variable) for line in lines)]
    for name in meant or CAPABILITIES:
        provider = found.providers[name]
        assert provider.api_key
        assert not provider.is_sandbox
        assert not meant or (provider.base_url, provider.model) == (
            lines[f"{CAPABILITIES[name][0]}_BASE_URL"], lines[f"{CAPABILITIES[name][0]}_MODEL"],
        )  # fmt: skip
    prices = [name.lower() for name in lines if "PRICE" in name]
    assert all(getattr(found, name) == 0 for name in prices)
