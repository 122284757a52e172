"""`/v1/chat/completions`: parse the request, answer whole or as a stream of chunks."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from app.sandbox.asking import Asked, Written, new_name, object_of, read_format, read_messages, read_most


def parse(given: object) -> Asked:
    """Check a request's JSON.

    Raises:
        ApiError: what the real service would say.
    """
    body = object_of(given)
    prompt, tokens = read_messages(body.get("messages"), "messages")
    schema, is_json = read_format(body.get("response_format"), "response_format")
    most = read_most(body.get("max_completion_tokens"), "max_completion_tokens")
    options = body.get("stream_options")
    return Asked(
        model=body["model"],
        prompt=prompt,
        input_tokens=tokens,
        schema=schema,
        is_json=is_json,
        most_tokens=most or read_most(body.get("max_tokens"), "max_tokens"),
        is_streamed=body.get("stream") is True,
        has_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def render(asked: Asked, written: Written) -> dict[str, Any]:
    """Return the answer's JSON."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if written.is_refusal else written.text,
        "refusal": written.text if written.is_refusal else None,
        "annotations": [],
    }
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _reason(written)}
    return {**_head(asked, "chat.completion"), "choices": [choice], "usage": _usage(asked, written)}


def stream(asked: Asked, written: Written) -> Iterator[str]:
    """Yield the answer as server-sent events."""
    head = _head(asked, "chat.completion.chunk")
    name = "refusal" if written.is_refusal else "content"
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "", "refusal": None}]
    deltas += [{name: piece} for piece in written.pieces]
    for delta in deltas:
        yield _event({**head, "choices": [_choice(delta, None)], **({"usage": None} if asked.has_usage else {})})
    yield _event({**head, "choices": [_choice({}, _reason(written))], **({"usage": None} if asked.has_usage else {})})
    if asked.has_usage:
        yield _event({**head, "choices": [], "usage": _usage(asked, written)})
    yield "data: [DONE]\n\n"


def _head(asked: Asked, kind: str) -> dict[str, Any]:
    return {
        "id": new_name("chatcmpl-"),
        "object": kind,
        "created": int(time.time()),
        "model": asked.model,
        "service_tier": "default",
        "system_fingerprint": None,
    }


def _choice(delta: dict[str, Any], reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}


def _reason(written: Written) -> str:
    return "length" if written.is_cut else "stop"


def _usage(asked: Asked, written: Written) -> dict[str, Any]:
    return {
        "prompt_tokens": asked.input_tokens,
        "completion_tokens": written.tokens,
        "total_tokens": asked.input_tokens + written.tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _event(chunk: dict[str, Any]) -> str:
    return f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n"
