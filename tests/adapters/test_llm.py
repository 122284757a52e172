"""The model adapter against a real server: answers, errors, cache."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import pytest

from app.adapters import cache, llm, llm_models
from app.adapters.llm_fakes import FakeEmbedder, FakeTranscriber
from app.adapters.llm_openai import OpenAIEmbedder, OpenAITranscriber
from app.adapters.llm_words import timed_words
from app.db import OpenTransaction, db
from app.errors import Permanent, Transient
from app.settings import Provider, Settings
from tests.factories import make_user


@pytest.fixture
def at_sandbox(app, sandbox):
    """Make a transcriber or an embedder for one model of the sandbox."""

    def make(kind, model, **changes):
        provider = Provider(f"{sandbox.url}/v1", "any", model, is_sandbox=True)
        settings = app.settings.but(transcription=provider, embeddings=provider, **changes)
        return kind.from_settings(settings)

    return make


@pytest.fixture
def hear(at_sandbox, piece):
    def hear(model="sandbox-transcribe", **options):
        return at_sandbox(OpenAITranscriber, model).transcribe(piece, language="en", **options)

    return hear


@pytest.fixture
def embed(at_sandbox):
    def embed(model="sandbox-embed", texts=("a",), **options):
        return at_sandbox(OpenAIEmbedder, model).embed(list(texts), **options)

    return embed


def test_words_have_times_confidence_and_the_texts_punctuation(hear):
    found = hear()
    assert found.text.endswith(".")
    assert " ".join(word.text for word in found.words) == found.text
    assert all(0 <= a.start <= a.end for a in found.words)
    assert all(word.confidence is not None for word in found.words)
    assert found.seconds_billed == pytest.approx(9.6, abs=0.2)


def test_a_text_only_model_gives_text_and_no_words(hear, at_sandbox):
    found = hear("text-only")
    assert "moon" in found.text
    assert found.words == ()
    assert not at_sandbox(OpenAITranscriber, "text-only").capabilities.has_times


def test_vectors_come_in_order_with_their_tokens(embed):
    found = embed(texts=["one", "two", "one"])
    assert len(found.vectors) == 3
    assert found.vectors[0] == found.vectors[2] != found.vectors[1]
    assert {len(vector) for vector in found.vectors} == {1536}
    assert found.tokens == 3


@pytest.mark.parametrize("model", ["fault-500", "fault-503", "fault-drop", "fault-broken-json"])
def test_what_may_pass_is_transient_and_called_once(embed, sandbox, model):
    with pytest.raises(Transient) as caught:
        embed(model)
    assert caught.value.retry_after is None
    assert sandbox.calls()["count"] == 1  # the engine retries, the client does not


def test_a_429_carries_its_retry_after_and_pauses_everybody(embed, at_sandbox, sandbox):
    with pytest.raises(Transient) as caught:
        embed("fault-429")
    assert caught.value.retry_after == 1
    with pytest.raises(Transient) as caught:  # another process of this instance: another embedder, the same account
        embed("sandbox-embed")
    assert 0 < caught.value.retry_after <= 1.25
    assert sandbox.calls()["count"] == 1


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("fault-400", "refused the request"),
        ("fault-401", "check OPENAI_API_KEY"),
        ("fault-quota", "no credit left"),
        ("nobody-knows-it", "does not know the model"),
    ],
)
def test_what_will_fail_again_is_permanent_and_says_what_to_do(embed, model, sentence):
    with pytest.raises(Permanent, match=sentence):
        embed(model)


def test_the_answer_to_a_language_that_is_not_known_names_the_ways_out(at_sandbox, piece, sandbox):
    with pytest.raises(Permanent, match="captions"):
        at_sandbox(OpenAITranscriber, "sandbox-transcribe").transcribe(piece, language="fr")
    assert sandbox.calls()["count"] == 0


def test_a_server_that_is_not_there_is_transient(app):
    provider = Provider("http://127.0.0.1:9/v1", "any", "sandbox-embed")
    with pytest.raises(Transient, match="cannot be reached"):
        OpenAIEmbedder.from_settings(app.settings.but(embeddings=provider)).embed(["a"])


def test_without_a_key_and_a_server_the_sentence_says_what_to_set(app):
    with pytest.raises(Permanent, match="OPENAI_API_KEY"):
        OpenAIEmbedder.from_settings(app.settings.but(embeddings=Provider("", "", "m"))).embed(["a"])


def test_nothing_is_called_while_changes_are_not_committed(embed, sandbox):
    user = make_user()
    user.name = "Changed"
    with pytest.raises(OpenTransaction):
        embed()
    db.session.rollback()
    assert sandbox.calls()["count"] == 0


def test_an_identical_call_of_the_same_person_is_answered_from_the_cache(embed, hear, sandbox):
    alice, charlie = make_user().id, make_user("charlie@example.org").id
    first, again = embed(owner_id=alice), embed(owner_id=alice)
    assert again.vectors[0] == pytest.approx(first.vectors[0], abs=1e-6)
    assert (first.tokens, again.tokens, again.is_cached) == (1, 0, True)
    assert not embed(owner_id=charlie).is_cached
    heard, heard_again = hear(owner_id=alice), hear(owner_id=alice)
    assert heard_again.words == heard.words
    assert heard_again.seconds_billed == 0
    assert not hear(owner_id=alice, prompt="The sea.").is_cached
    assert sandbox.calls()["count"] == 4


def test_a_kept_answer_costs_the_call_that_paid_for_it_what_it_did(embed, hear):
    """Whoever made that call may have died before it was metered; the meter counts a call once."""
    alice = make_user().id
    assert embed(owner_id=alice, paid_as="run/step").tokens == 1
    assert embed(owner_id=alice, paid_as="run/step").tokens == 1
    assert embed(owner_id=alice, paid_as="run/other").tokens == 0
    assert embed(owner_id=alice).tokens == 0
    paid = hear(owner_id=alice, paid_as="run/step").seconds_billed
    again = hear(owner_id=alice, paid_as="run/step")
    assert (again.seconds_billed, again.is_cached) == (paid, True)
    assert hear(owner_id=alice, paid_as="run/other").seconds_billed == 0


def test_a_server_that_takes_too_long_for_whoever_waits_is_left(embed):
    with pytest.raises(Transient):
        embed("fault-slow", patience_seconds=0.1)
    assert embed("fault-slow").tokens == 1


def test_a_failed_call_is_not_cached_and_an_expired_answer_is_gone(embed, sandbox, execute):
    alice = make_user().id
    with pytest.raises(Transient):
        embed("fault-500-once", owner_id=alice)
    assert embed("fault-500-once", owner_id=alice).tokens == 1
    execute("UPDATE model_cache SET expires_at = now() - interval '1 second'")
    assert not embed("fault-500-once", owner_id=alice).is_cached
    cache.forget(alice)
    assert execute("SELECT count(*) FROM model_cache").scalar() == 0


def test_the_cache_of_a_person_who_is_gone_costs_nothing(embed):
    import uuid

    assert embed(owner_id=uuid.uuid4()).tokens == 1


def test_models_come_from_the_settings_and_can_be_replaced(app):
    try:
        llm.install(app)
        assert llm.transcriber() is llm.transcriber()
        assert llm.embedder().model == app.settings.embeddings.model
        fake = FakeTranscriber(script=["one", Transient("no")])
        llm.install(app, transcriber=fake, embedder=FakeEmbedder())
        assert llm.transcriber() is fake
        assert len(llm.embedder().embed(["a b"]).vectors[0]) == 1536
    finally:
        llm.install(app)


def test_fakes_pass_the_same_gate(app, tmp_path):
    path = tmp_path / "a.mp3"
    path.touch()
    user = make_user()
    user.name = "Changed"
    with pytest.raises(OpenTransaction):
        FakeTranscriber().transcribe(path)
    with pytest.raises(OpenTransaction):
        FakeEmbedder().embed(["a"])
    db.session.rollback()


@pytest.mark.parametrize(
    ("model", "timestamps", "has_times"),
    [
        ("whisper-1", "auto", True),
        ("sandbox-transcribe", "auto", True),
        ("gpt-transcribe", "auto", False),
        ("somebodys-whisper", "auto", False),
        ("somebodys-whisper", "yes", True),
        ("whisper-1", "no", False),
    ],
)
def test_times_are_declared_by_the_models_name_or_the_setting(model, timestamps, has_times):
    assert llm_models.capabilities_of(Provider("", "", model), timestamps).has_times is has_times


def test_retirements_are_known():
    assert llm_models.retirement_of("whisper-1").on == dt.date(2027, 2, 26)
    assert llm_models.retirement_of("gpt-5").on == dt.date(2026, 12, 11)
    assert llm_models.retirement_of("gpt-5-2025-08-07").on == dt.date(2026, 12, 11)
    assert llm_models.retirement_of("gpt-4o-2024-05-13").on == dt.date(2026, 10, 23)
    assert llm_models.retirement_of("gpt-transcribe") is None
    assert llm_models.retirement_of("gpt-5.5-2026-04-23") is None
    assert all(llm_models.retirement_of(each.successor) is None for each in llm_models.RETIREMENTS.values())


def test_what_the_sandbox_makes_never_carries_a_real_models_name():
    settings = Settings.from_environment({"SANDBOX": "1", "EMBEDDING_MODEL": "text-embedding-3-small"})
    assert settings.embeddings.model == "sandbox-embed"
    assert settings.transcription.model == "sandbox-transcribe"


def test_a_successor_gets_keywords_and_languages_others_a_prompt(at_sandbox):
    new = at_sandbox(OpenAITranscriber, "gpt-transcribe")._request("en", "before", "Kubernetes, Ravi")
    assert new["keywords"] == ["Kubernetes", "Ravi"]
    assert new["languages"] == ["en"]
    assert new["prompt"] == "before"
    old = at_sandbox(OpenAITranscriber, "whisper-1")._request("en", "before", "Kubernetes, Ravi")
    assert old["prompt"] == "Kubernetes, Ravi. before"
    assert old["language"] == "en"
    assert old["timestamp_granularities"] == ["word", "segment"]


def test_words_keep_order_and_take_confidence_from_their_segment():
    answer = SimpleNamespace(
        words=[
            SimpleNamespace(word=w, start=s, end=e)
            for w, s, e in [(" hello", 0, 0.5), ("world", 0.4, 0.3), ("x", 9, 9.5)]
        ],
        segments=[SimpleNamespace(start=0, end=1, avg_logprob=-0.5)],
    )
    hello, world, x = timed_words(answer, "Hello, World!")
    assert (hello.text, world.text, x.text) == ("Hello,", "World!", "x")
    assert hello.confidence == pytest.approx(0.607, abs=0.001)
    assert world.start <= world.end
    assert x.confidence is None
    assert timed_words(SimpleNamespace(words=None), "Hello") == ()
