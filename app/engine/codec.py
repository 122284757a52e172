"""What goes into the database as JSON, with the limits that the documentation promises."""

from typing import Any

from app.engine.errors import LimitExceeded, NotJson
from app.lib import json_text

KIB = 1024
MAX_EVENT_BYTES = 512 * KIB
MAX_INLINE_BYTES = 256 * KIB
MAX_RESULT_BYTES = 4 * KIB * KIB
MAX_INPUT_BYTES = 16 * KIB
MAX_DEPTH = 200  # Python reads some 900 levels, fewer the deeper its own stack is


def dumps(value: Any, what: str) -> str:
    """Return `value` as JSON text.

    Raises:
        NotJson: it is not JSON (NaN, a set, an object, ...), or is nested deeper than whoever reads it may be able to
            follow; `what` names it in the message.
    """
    try:
        text = json_text.dumps(value)
    except json_text.NOT_JSON as error:
        at = json_text.where_not_json(value)
        told = f"{what} is not JSON{at and f' at {at}'}: {error}. Use text, numbers, booleans, None, lists and dicts."
        raise NotJson(told) from error
    if json_text.is_deep(value, text, MAX_DEPTH):
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
        told = f"{what} is {len(text)} bytes; at most {MAX_RESULT_BYTES} are remembered. Store it and return its key."
        raise LimitExceeded("result_bytes", told)
    return text


def dump_event(data: Any, name: str) -> str:
    """Return an event's payload as JSON text of at most 512 KiB.

    Raises:
        NotJson: it is not a JSON object.
        LimitExceeded: it is larger; put it into storage and send its key.
    """
    if not isinstance(data, dict):
        raise NotJson(f"The payload of event {name!r} must be a dict, not {type(data).__name__}.")
    text = dumps(data, f"The payload of event {name!r}")
    if len(text) > MAX_EVENT_BYTES:
        told = f"Event {name!r} is {len(text)} bytes; at most {MAX_EVENT_BYTES} are sent. Store it and send its key."
        raise LimitExceeded("event_bytes", told)
    return text


def dump_input(arguments: list[Any]) -> str:
    """Return a step's arguments for people to look at: what is not JSON, too long or too deep is described instead."""
    return json_text.shown(arguments, MAX_INPUT_BYTES, MAX_DEPTH)
