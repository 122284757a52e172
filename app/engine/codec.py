"""JSON in and out of the database, with the limits that the documentation promises."""

from __future__ import annotations

import json
import traceback
from datetime import date
from typing import Any
from uuid import UUID

from app.engine.errors import LimitExceeded, NotJson

KIB = 1024
MAX_EVENT_BYTES = 512 * KIB
MAX_INLINE_BYTES = 256 * KIB
MAX_RESULT_BYTES = 4 * KIB * KIB
MAX_INPUT_BYTES = 16 * KIB
MAX_DEPTH = 200  # Python reads some 900 levels, fewer the deeper its own stack is
MAX_MESSAGE = 2000
MAX_TRACEBACK = 8 * KIB  # characters; its end says most


def dumps(value: Any, what: str) -> str:
    """Return `value` as JSON text.

    Raises:
        NotJson: it is not JSON (NaN, a set, an object, ...), or is nested deeper than whoever reads it may be able to
            follow; `what` names it in the message.
    """
    try:
        text = _RESULT.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise NotJson(f"{what} is not JSON: {error}") from error
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deep(value, MAX_DEPTH):
        raise NotJson(f"{what} is nested deeper than {MAX_DEPTH} levels; make it flatter.")
    return text


def dump_result(value: Any, what: str) -> str:
    """Return a step's or a run's result as JSON text of at most 4 MB.

    Raises:
        NotJson: it is not JSON.
        LimitExceeded: it is larger; put it into storage and return its key.
    """
    text = dumps(value, what)
    if len(text) > MAX_RESULT_BYTES:
        raise LimitExceeded(
            "result_bytes",
            f"{what} is {len(text)} bytes; at most {MAX_RESULT_BYTES} are remembered. Store it and return its key.",
        )
    return text


def dump_event(data: Any, name: str) -> str:
    """Return an event's payload as JSON text of at most 512 KiB.

    Raises:
        NotJson: it is not a JSON object.
        LimitExceeded: it is larger.
    """
    if not isinstance(data, dict):
        raise NotJson(f"The payload of event {name!r} must be a dict.")
    text = dumps(data, f"The payload of event {name!r}")
    if len(text) > MAX_EVENT_BYTES:
        raise LimitExceeded("event_bytes", f"Event {name!r} is {len(text)} bytes; at most {MAX_EVENT_BYTES} are sent.")
    return text


def dump_input(arguments: list[Any]) -> str:
    """Return a step's arguments for people to look at: what is not JSON or too long is described instead."""
    try:
        text = _INPUT.encode(arguments)
    except (TypeError, ValueError, RecursionError):
        return json.dumps([_describe(argument) for argument in arguments])
    return text if len(text) <= MAX_INPUT_BYTES else json.dumps([f"({len(text)} bytes, not kept)"])


def same_again(value: Any, text: str) -> Any:
    """Return `value` as a replay will see it, so that the first pass sees the same (lists for tuples, ...)."""
    return value if value is None or type(value) in (str, int, bool) else json.loads(text)


def error_of(error: BaseException, code: str = "error", message: str = "") -> dict[str, Any]:
    """Return an exception as it is remembered and shown: class, code, message."""
    return {"class": type(error).__name__, "code": code, "message": printable(message or str(error))[:MAX_MESSAGE]}


def traceback_of(error: BaseException) -> str:
    """Return where an exception came from, the last `MAX_TRACEBACK` characters of it."""
    return printable("".join(traceback.format_exception(error)))[-MAX_TRACEBACK:]


def printable(text: str) -> str:
    """Return `text` as PostgreSQL can hold it."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _is_deep(value: Any, levels: int) -> bool:
    """Tell whether JSON is nested deeper than so many levels; from level to level, without recursion."""
    layer = [value]
    for _ in range(levels + 1):
        layer = [
            inner
            for outer in layer
            if isinstance(outer, dict | list | tuple)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(layer)


def _describe(value: Any) -> str:
    return str(value) if isinstance(value, UUID | date) else f"<{type(value).__name__}>"


# Made once: json.dumps makes an encoder a call.
_RESULT = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
_INPUT = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=_describe)
