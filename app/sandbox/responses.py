"""`/v1/responses`: parse the request, answer whole or as the events of the real service."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

from app.sandbox.asking import Asked, Written, new_name, object_of, read_format, read_messages, read_most
from app.sandbox.embedding import count_tokens
from app.sandbox.errors import ApiError

Json = dict[str, Any]


def parse(given: object) -> Asked:
    """Check a request's JSON.

    Raises:
        ApiError: what the real service would say.
    """
    body = object_of(given)
    items = body.get("input")
    prompt, tokens = read_messages([{"role": "user", "content": items}] if isinstance(items, str) else items, "input")
    form = body.get("text")
    if form is not None and not isinstance(form, dict):
        raise ApiError(400, "Invalid 'text': an object is expected.", param="text")
    schema, is_json = read_format((form or {}).get("format"), "text.format")
    instructions = body.get("instructions")
    return Asked(
        model=body["model"],
        prompt=prompt,
        input_tokens=tokens + (count_tokens(instructions) if isinstance(instructions, str) else 0),
        schema=schema,
        is_json=is_json,
        most_tokens=read_most(body.get("max_output_tokens"), "max_output_tokens"),
        is_streamed=body.get("stream") is True,
    )


def render(asked: Asked, written: Written) -> Json:
    """Return the answer's JSON."""
    return _whole(_begun(asked), asked, written, _message(new_name("msg_"), written, is_done=True))


def stream(asked: Asked, written: Written) -> Iterator[str]:
    """Yield the answer as server-sent events, in the order and with the numbers of the real service."""
    numbers = itertools.count()

    def event(kind: str, **fields: Any) -> str:
        data = {"type": kind, "sequence_number": next(numbers), **fields}
        return f"event: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"

    begun, name = _begun(asked), new_name("msg_")
    place = {"item_id": name, "output_index": 0, "content_index": 0}
    kind = "refusal" if written.is_refusal else "output_text"
    more: Json = {} if written.is_refusal else {"logprobs": []}
    field = "refusal" if written.is_refusal else "text"
    done = _message(name, written, is_done=True)
    yield event("response.created", response=begun)
    yield event("response.in_progress", response=begun)
    yield event("response.output_item.added", output_index=0, item=_message(name, written, is_done=False))
    yield event("response.content_part.added", **place, part=_part(Written("", is_refusal=written.is_refusal)))
    for piece in written.pieces:
        yield event(f"response.{kind}.delta", **place, delta=piece, **more)
    yield event(f"response.{kind}.done", **place, **{field: written.text}, **more)
    yield event("response.content_part.done", **place, part=_part(written))
    yield event("response.output_item.done", output_index=0, item=done)
    end = "response.incomplete" if written.is_cut else "response.completed"
    yield event(end, response=_whole(begun, asked, written, done))


def _begun(asked: Asked) -> Json:
    form: Json = {"type": "json_object"} if asked.is_json else {"type": "text"}
    if asked.schema is not None:
        form = {"type": "json_schema", "name": "answer", "schema": asked.schema, "strict": True, "description": None}
    return {
        "id": new_name("resp_"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": asked.most_tokens or None,
        "metadata": {},
        "model": asked.model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": False,
        "temperature": 1.0,
        "text": {"format": form},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        "user": None,
    }


def _whole(begun: Json, asked: Asked, written: Written, message: Json) -> Json:
    return begun | {
        "status": "incomplete" if written.is_cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if written.is_cut else None,
        "output": [message],
        "usage": {
            "input_tokens": asked.input_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": written.tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": asked.input_tokens + written.tokens,
        },
    }


def _message(name: str, written: Written, *, is_done: bool) -> Json:
    status = ("incomplete" if written.is_cut else "completed") if is_done else "in_progress"
    content = [_part(written)] if is_done else []
    return {"id": name, "type": "message", "status": status, "role": "assistant", "content": content}


def _part(written: Written) -> Json:
    if written.is_refusal:
        return {"type": "refusal", "refusal": written.text}
    return {"type": "output_text", "text": written.text, "annotations": [], "logprobs": []}
