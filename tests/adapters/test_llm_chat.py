"""The chat and image adapters against a real server: answers, streams, errors, cache."""

from __future__ import annotations

import pytest

from app.adapters import llm
from app.adapters.llm_chat import OpenAIChat
from app.adapters.llm_fakes import FakeChat, FakeImages
from app.adapters.llm_images import OpenAIImages
from app.db import OpenTransaction, db
from app.errors import Permanent, Transient
from app.settings import Provider, Settings
from tests.factories import make_user

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "The moon pulls on the sea."}]
SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string", "maxLength": 40}},
    "required": ["title"],
    "additionalProperties": False,
}
APIS = ("responses", "chat")


@pytest.fixture
def ask(app, sandbox):
    """Ask one model of the sandbox by one of its APIs."""

    def ask(model="sandbox-chat", api="responses", **options):
        provider = Provider(f"{sandbox.url}/v1", "any", model, is_sandbox=True)
        chat = OpenAIChat.from_settings(app.settings.but(chat=provider, chat_api=api))
        return chat.answer(MESSAGES, **{"max_output_tokens": 200} | options)

    return ask


@pytest.fixture
def draw(app, sandbox):
    def draw(model="sandbox-image", prompt="The sea", **options):
        provider = Provider(f"{sandbox.url}/v1", "any", model)
        return OpenAIImages.from_settings(app.settings.but(images=provider)).generate(prompt, size="64x64", **options)

    return draw


@pytest.mark.parametrize("api", APIS)
def test_an_answer_has_the_text_and_the_providers_own_counts(ask, sandbox, api):
    found = ask(api=api)
    assert "moon pulls" in found.text
    assert found.data is None
    assert sandbox.calls()["tokens"] == {"input": found.input_tokens, "output": found.output_tokens}
    assert sandbox.calls()["calls"][0]["path"] == {"responses": "/v1/responses", "chat": "/v1/chat/completions"}[api]


@pytest.mark.parametrize("api", APIS)
def test_what_is_streamed_is_the_answer_and_is_counted_too(ask, api):
    pieces = []
    found = ask(api=api, schema=SCHEMA, write=pieces.append)
    assert "".join(pieces) == found.text
    assert len(pieces) > 1
    assert found.data["title"]
    assert found.output_tokens > 0


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("write", [None, lambda _text: None])
@pytest.mark.parametrize(
    ("model", "error", "sentence"),
    [
        ("fault-500", Transient, "has a problem"),
        ("fault-drop", Transient, "cannot be reached"),
        ("fault-half", Transient, "."),
        ("fault-broken-json", Transient, "could not be read"),
        ("fault-400", Permanent, "refused the request"),
        ("fault-401", Permanent, "check OPENAI_API_KEY"),
        ("fault-quota", Permanent, "no credit left"),
        ("nobody-knows-it", Permanent, "CHAT_MODEL"),
        ("fault-garbled", llm.Garbled, "did not write what it was asked for"),
        ("fault-refusal", llm.Refused, "did not want to"),
        ("fault-cut", llm.Refused, "more than it may"),
    ],
)
def test_every_failure_is_a_sentence_and_one_call(ask, sandbox, api, write, model, error, sentence):  # noqa: PLR0917
    with pytest.raises(error, match=sentence) as caught:
        ask(model, api, schema=SCHEMA, write=write)
    assert sandbox.calls()["count"] == 1
    if error in (llm.Garbled, llm.Refused):  # it was paid for
        counts = {"input": caught.value.answer.input_tokens, "output": caught.value.answer.output_tokens}
        assert counts == sandbox.calls()["tokens"]
        assert counts["output"] > 0
        assert caught.value.answer.id


def test_an_answer_that_cannot_be_used_is_not_kept(ask, sandbox):
    owner = make_user().id
    for _ in range(2):
        with pytest.raises(llm.Garbled):
            ask("fault-garbled", schema=SCHEMA, owner_id=owner)
    assert sandbox.calls()["count"] == 2


@pytest.mark.parametrize("api", APIS)
def test_an_identical_question_of_the_same_person_is_answered_from_the_cache(ask, sandbox, api):
    alice, charlie, pieces = make_user().id, make_user("charlie@example.org").id, []
    first = ask(api=api, owner_id=alice, paid_as="run/step", schema=SCHEMA)
    again = ask(api=api, owner_id=alice, paid_as="run/step", schema=SCHEMA, write=pieces.append)
    assert (again.text, again.data, again.is_cached) == (first.text, first.data, True)
    assert (again.input_tokens, again.output_tokens) == (first.input_tokens, first.output_tokens)  # paid by that step
    assert pieces == [first.text]
    other = ask(api=api, owner_id=alice, paid_as="run/other", schema=SCHEMA)
    assert (other.input_tokens, other.output_tokens) == (0, 0)
    assert sandbox.calls()["count"] == 1
    assert not ask(api=api, owner_id=charlie, schema=SCHEMA).is_cached
    assert not ask(api=api, owner_id=alice, schema=SCHEMA, max_output_tokens=199).is_cached
    assert not ask(api=api, owner_id=alice).is_cached


def test_a_429_carries_its_retry_after_and_pauses_everybody(ask, sandbox):
    with pytest.raises(Transient) as caught:
        ask("fault-429")
    assert caught.value.retry_after == 1
    with pytest.raises(Transient):
        ask()
    assert sandbox.calls()["count"] == 1


def test_a_schema_that_is_none_is_refused_before_anything_is_paid(ask, sandbox):
    with pytest.raises(ValueError, match="JSON Schema"):
        ask(schema={"$ref": "#/nowhere"})
    assert sandbox.calls()["count"] == 0


def test_auto_asks_openai_and_the_sandbox_by_responses_and_others_by_chat(app):
    def api(url, **more):
        return OpenAIChat.from_settings(app.settings.but(chat=Provider(url, "k", "m", **more)))._api

    assert api("") == api("https://api.openai.com/v1") == api("http://x/v1", is_sandbox=True) == "responses"
    assert api("http://localhost:11434/v1") == "chat"
    assert Settings.from_environment({"CHAT_API": "chat"}).chat_api == "chat"


def test_openai_is_told_the_length_by_its_new_name_and_local_servers_by_the_old(app):
    def request(url):
        chat = OpenAIChat.from_settings(app.settings.but(chat=Provider(url, "k", "m"), chat_api="chat"))
        return chat._chat_request(MESSAGES, None, "", 7)

    assert request("")["max_completion_tokens"] == 7
    assert request("http://localhost:11434/v1")["max_tokens"] == 7


def test_without_a_key_and_a_server_the_sentence_says_what_to_set(app):
    chat = OpenAIChat.from_settings(app.settings.but(chat=Provider("", "", "m")))
    with pytest.raises(Permanent, match="OPENAI_API_KEY"):
        chat.answer(MESSAGES, max_output_tokens=9)


def test_a_picture_is_drawn_once_for_each_question_of_a_person(draw, sandbox):
    alice = make_user().id
    first, again = draw(owner_id=alice), draw(owner_id=alice)
    assert first.media_type == "image/png"
    assert first.content.startswith(b"\x89PNG")
    assert (first.pictures, again.pictures, again.is_cached) == (1, 0, True)
    assert again.content == first.content
    assert sandbox.calls()["count"] == 1
    with pytest.raises(Transient):
        draw("fault-500")
    with pytest.raises(Permanent, match="IMAGES_MODEL"):
        draw("dall-e-3")


def test_nothing_is_asked_while_changes_are_not_committed_not_even_of_fakes(app, ask, draw):
    user = make_user()
    user.name = "Changed"
    for call in (
        ask,
        draw,
        lambda: FakeChat().answer(MESSAGES, max_output_tokens=1),
        lambda: FakeImages().generate("a"),
    ):
        with pytest.raises(OpenTransaction):
            call()
    db.session.rollback()


def test_chat_and_images_come_from_the_settings_and_can_be_replaced(app):
    try:
        llm.install(app)
        assert llm.chat() is llm.chat()
        assert llm.images().model == app.settings.images.model
        assert not llm.has_chat()
        llm.install(app, chat=FakeChat(script=["yes"]), images=FakeImages())
        assert llm.has_chat()
        assert llm.chat().answer(MESSAGES, max_output_tokens=1).text == "yes"
        assert llm.images().generate("a").content.startswith(b"\x89PNG")
    finally:
        llm.install(app)


def test_what_the_sandbox_makes_never_carries_a_real_models_name():
    settings = Settings.from_environment({"SANDBOX": "1", "CHAT_MODEL": "gpt-5.5"})
    assert (settings.chat.model, settings.images.model) == ("sandbox-chat", "sandbox-image")
    assert settings.is_sandboxed
    assert Settings.from_environment({"IMAGES_SANDBOX": "1"}).is_sandboxed
    assert not Settings.from_environment({"OPENAI_API_KEY": "k"}).is_sandboxed
