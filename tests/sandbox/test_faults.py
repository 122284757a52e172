"""Faults by model name: OpenAI's client raises and retries as with the real service; every call is listed."""

from __future__ import annotations

import hashlib

import httpx2
import openai
import pytest


def embed(client, model, text="a", **options):
    return client.with_options(**options).embeddings.create(model=model, input=text)


@pytest.mark.parametrize(
    ("model", "error", "status"),
    [
        ("fault-429", openai.RateLimitError, 429),
        ("fault-500", openai.InternalServerError, 500),
        ("fault-503", openai.InternalServerError, 503),
        ("fault-400", openai.BadRequestError, 400),
        ("fault-401", openai.AuthenticationError, 401),
    ],
)
def test_an_error_status_raises_its_class(client, sandbox, model, error, status):
    with pytest.raises(error) as caught:
        embed(client, model)
    assert caught.value.status_code == status
    assert caught.value.body["message"]
    assert [call["status"] for call in sandbox.calls()["calls"]] == [status]


def test_429_says_when_to_come_back(client):
    with pytest.raises(openai.RateLimitError) as caught:
        embed(client, "fault-429")
    assert caught.value.response.headers["retry-after"] == "1"
    assert caught.value.code == "rate_limit_exceeded"


def test_no_retries_make_one_call_and_two_retries_three(client, sandbox):
    with pytest.raises(openai.InternalServerError):
        embed(client, "fault-500")
    assert sandbox.calls()["count"] == 1
    sandbox.reset()
    with pytest.raises(openai.InternalServerError):
        embed(client, "fault-500", max_retries=2)
    assert sandbox.calls()["count"] == 3


def test_a_bad_request_is_not_retried(client, sandbox):
    with pytest.raises(openai.BadRequestError):
        embed(client, "fault-400", max_retries=2)
    assert sandbox.calls()["count"] == 1


def test_twice_fails_twice_for_each_content_and_then_works(client, sandbox):
    assert embed(client, "fault-500-twice", "one", max_retries=2).data
    assert embed(client, "fault-500-twice", "two", max_retries=2).data
    assert [call["status"] for call in sandbox.calls()["calls"]] == [500, 500, 200] * 2


def test_a_slow_answer_is_a_timeout(client, sandbox):
    with pytest.raises(openai.APITimeoutError):
        embed(client, "fault-slow", timeout=0.1)
    assert embed(client, "fault-slow", timeout=10).data


def test_a_dropped_connection_is_a_connection_error(client, sandbox):
    with pytest.raises(openai.APIConnectionError) as caught:
        embed(client, "fault-drop", max_retries=1)
    assert not isinstance(caught.value, openai.APITimeoutError)
    assert [call["status"] for call in sandbox.calls()["calls"]] == [None, None]


def test_half_a_json_document_is_no_answer(client):
    with pytest.raises(ValueError):
        embed(client, "fault-broken-json")


def test_transcription_has_the_same_faults(client, sandbox, piece):
    with pytest.raises(openai.RateLimitError):
        client.audio.transcriptions.create(model="fault-429", file=piece)
    answer = client.with_options(max_retries=2).audio.transcriptions.create(model="fault-500-twice", file=piece)
    assert answer.text
    hashes = {call["content_hash"] for call in sandbox.calls()["calls"]}
    assert hashes == {hashlib.sha256(piece.read_bytes()).hexdigest()}


def test_no_key_and_a_wrong_key_are_refused(sandbox):
    for headers in ({"Authorization": "Bearer invalid"}, {}):
        answer = httpx2.get(f"{sandbox.url}/v1/models", headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"


def test_addresses_and_bodies_that_are_unknown_get_errors_of_the_same_shape(sandbox):
    headers = {"Authorization": "Bearer key"}
    for answer in (
        httpx2.post(f"{sandbox.url}/v1/nothing", headers=headers),
        httpx2.get(f"{sandbox.url}/v1/embeddings", headers=headers),
        httpx2.post(f"{sandbox.url}/v1/embeddings", headers=headers, content=b"{"),
        httpx2.post(f"{sandbox.url}/v1/embeddings", headers=headers, json=[1]),
        httpx2.post(f"{sandbox.url}/v1/embeddings", headers=headers, content=b"[" * 100_000),
        httpx2.post(
            f"{sandbox.url}/v1/embeddings", headers=headers, content=b'{"model": "sandbox-embed", "input": "\\ud800"}'
        ),
        httpx2.post(f"{sandbox.url}/v1/audio/transcriptions", headers=headers),
    ):
        assert 400 <= answer.status_code < 500
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_calls_are_listed_and_counted(client, sandbox):
    client.embeddings.create(model="sandbox-embed", input="a")
    client.embeddings.create(model="sandbox-embed", input="b")
    summary = sandbox.calls()
    assert summary["counts"] == {"/v1/embeddings sandbox-embed": 2}
    assert len({call["content_hash"] for call in summary["calls"]}) == 2
    assert all(call["finished_at"] >= call["started_at"] for call in summary["calls"])
    sandbox.reset()
    assert sandbox.calls()["count"] == 0
