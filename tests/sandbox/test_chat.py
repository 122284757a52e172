"""The real `openai` client asks the sandbox by both of its APIs, whole and streamed."""

from __future__ import annotations

import json
from typing import Literal

import openai
import pytest
from pydantic import BaseModel, Field

from app.sandbox.asking import MODELS

TALK = """<talk>
[1] The sea rises and falls twice every day.
[2] The moon pulls on the water, and the water under the moon is lifted.
[3] We call that high tide.
[7] Bread needs flour, water, salt and time.
[8] Heat the oven for a long time, because hot bread wants a hot oven.
</talk>"""
ASKED = [{"role": "system", "content": "Outline the talk."}, {"role": "user", "content": TALK}]


class Chapter(BaseModel):
    segment: int
    title: str = Field(max_length=40)


class Outline(BaseModel):
    title: str
    kind: Literal["talk", "recipe"]
    summary: str
    chapters: list[Chapter] = Field(min_length=2, max_length=2)


def response(client, model="sandbox-chat", **more):
    return client.responses.create(model=model, input=ASKED, **more)


def completion(client, model="sandbox-chat", **more):
    return client.chat.completions.create(model=model, messages=ASKED, **more)


def test_a_response_is_text_from_the_prompt_with_its_tokens(client, sandbox):
    answer = response(client)
    assert answer.status == "completed"
    assert "moon pulls on the water" in answer.output_text
    assert "Outline" not in answer.output_text  # instructions are no source
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    assert sandbox.calls()["tokens"] == {"input": answer.usage.input_tokens, "output": answer.usage.output_tokens}
    assert response(client).output_text == answer.output_text


def test_a_response_is_parsed_as_a_schema_with_sensible_numbers(client):
    found = client.responses.parse(model="sandbox-chat", input=ASKED, text_format=Outline).output_parsed
    assert [chapter.segment for chapter in found.chapters] == [1, 7]
    assert found.kind == "talk"
    assert len({chapter.title for chapter in found.chapters}) == 2


def test_a_streamed_response_has_every_event_of_the_real_one_in_order(client):
    with client.responses.stream(model="sandbox-chat", input=ASKED, text_format=Outline) as stream:
        events = list(stream)
        final = stream.get_final_response()
    kinds = list(dict.fromkeys(event.type for event in events))
    assert kinds == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
        "response.output_text.delta", "response.output_text.done", "response.content_part.done",
        "response.output_item.done", "response.completed",
    ]  # fmt: skip
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == final.output_text
    assert final.output_parsed.chapters[1].segment == 7
    assert final.usage.output_tokens > 0


def test_a_completion_is_text_and_can_be_parsed(client):
    assert "moon" in completion(client).choices[0].message.content
    answer = client.chat.completions.parse(model="sandbox-chat", messages=ASKED, response_format=Outline)
    assert answer.choices[0].message.parsed.chapters[0].segment == 1
    assert answer.choices[0].finish_reason == "stop"


def test_a_streamed_completion_counts_its_tokens_when_asked(client):
    options = {"model": "sandbox-chat", "messages": ASKED, "stream_options": {"include_usage": True}}
    with client.chat.completions.stream(**options, response_format=Outline) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert final.choices[0].message.parsed.title
    assert final.usage.completion_tokens > 0
    chunks = list(completion(client, stream=True))
    assert all(chunk.usage is None for chunk in chunks)


def test_any_json_is_an_object(client):
    answer = completion(client, response_format={"type": "json_object"})
    assert json.loads(answer.choices[0].message.content)["answer"]


def test_an_answer_over_its_length_is_incomplete(client):
    found = response(client, max_output_tokens=5)
    assert (found.status, found.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert found.usage.output_tokens <= 5
    assert completion(client, max_completion_tokens=5).choices[0].finish_reason == "length"
    assert completion(client, max_tokens=5).choices[0].finish_reason == "length"


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("fault-429", openai.RateLimitError),
        ("fault-500", openai.InternalServerError),
        ("fault-401", openai.AuthenticationError),
        ("fault-drop", openai.APIConnectionError),
        ("nobody", openai.NotFoundError),
    ],
)
@pytest.mark.parametrize("ask", [response, completion])
@pytest.mark.parametrize("stream", [False, True])
def test_errors_are_raised_by_both_apis_whole_and_streamed_and_counted(  # noqa: PLR0917
    client, sandbox, ask, model, error, stream
):
    with pytest.raises(error):
        ask(client, model, stream=stream)
    [call] = sandbox.calls()["calls"]
    assert call["model"] == (model if model.startswith("fault-") else "")  # a name that is unknown is not kept


@pytest.mark.parametrize("ask", [response, completion])
def test_a_slow_answer_is_a_timeout_and_broken_json_no_answer(client, ask):
    with pytest.raises(openai.APITimeoutError):
        ask(client, "fault-slow", timeout=0.1)
    with pytest.raises(ValueError):
        ask(client, "fault-broken-json")


def test_a_stream_may_be_cut_in_its_middle(client, sandbox):
    kinds = []
    try:
        with client.responses.create(model="fault-half", input=ASKED, stream=True) as events:
            for event in events:
                kinds.append(event.type)  # noqa: PERF401  (what came before the cut counts)
    except openai.APIConnectionError:
        pass
    assert kinds[0] == "response.created"
    assert "response.completed" not in kinds
    assert sandbox.calls()["tokens"] == {"input": 0, "output": 0}


def test_a_refusal_half_an_answer_and_a_cut_one_are_faults_of_their_own(client):
    assert completion(client, "fault-refusal").choices[0].message.refusal
    refused = response(client, "fault-refusal")
    assert refused.output[0].content[0].type == "refusal"
    assert response(client, "fault-cut").status == "incomplete"
    form = {"format": {"type": "json_schema", "name": "x", "schema": {"type": "array", "items": {"type": "string"}}}}
    with pytest.raises(ValueError):
        json.loads(response(client, "fault-garbled", text=form).output_text)


def test_twice_fails_twice_and_then_works(client, sandbox):
    assert client.with_options(max_retries=2).responses.create(model="fault-500-twice", input=ASKED).output_text
    assert [call["status"] for call in sandbox.calls()["calls"]] == [500, 500, 200]


@pytest.mark.parametrize(
    "body",
    [
        {"input": []},
        {"input": [1]},
        {"input": [{"role": "user", "content": 1}]},
        {"input": "a", "text": 1},
        {"input": "a", "text": {"format": {"type": "yaml"}}},
        {"input": "a", "text": {"format": {"type": "json_schema", "name": "x"}}},
        {"input": "a", "text": {"format": {"type": "json_schema", "name": "x", "schema": {"$ref": "#/no"}}}},
        {"input": "a", "text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}, "strict": True}}},
        {"input": "a", "max_output_tokens": 0},
        {"input": "word " * 900_000},
    ],
)  # fmt: skip
def test_requests_that_the_real_service_refuses_are_refused(client, body):
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/responses", body={"model": "sandbox-chat", **body}, cast_to=object)
    assert caught.value.body["message"]


def test_chat_models_are_listed(client):
    assert set(MODELS) <= {model.id for model in client.models.list()}
