"""JSON as text: values exactly, and what is only shown to people as well as it can be."""

from __future__ import annotations

import json
import traceback
from datetime import date
from typing import Any
from uuid import UUID

MAX_MESSAGE = 2000  # characters of what people are told
MAX_TRACEBACK = 8192  # characters; its end says most
NOT_JSON = (TypeError, ValueError, RecursionError)


def dumps(value: Any) -> str:
    """Return `value` as JSON text, or raise one of `NOT_JSON` (NaN, a set, an object, ...)."""
    return _EXACT.encode(value)


def same_again(value: Any, text: str) -> Any:
    """Return `value` as whoever reads its JSON `text` will see it (lists for tuples, one character for surrogates)."""
    is_same = value is None or type(value) in (int, bool) or (type(value) is str and value.isascii())
    return value if is_same else json.loads(text)


def shown(values: list[Any], most: int) -> str:
    """Return a list as JSON for people to look at: what is not JSON, or over `most` bytes, is described instead."""
    try:
        text = _SHOWN.encode(values)
    except NOT_JSON:
        return json.dumps([_describe(value) for value in values])
    return text if len(text) <= most else json.dumps([f"({len(text)} bytes, not kept)"])


def error_of(error: BaseException, code: str = "error", message: str = "") -> dict[str, Any]:
    """Return an exception as it is kept and shown: class, code, message."""
    return {"class": type(error).__name__, "code": code, "message": printable(message or str(error))[:MAX_MESSAGE]}


def traceback_of(error: BaseException) -> str:
    """Return where an exception came from, the last `MAX_TRACEBACK` characters of it."""
    return printable("".join(traceback.format_exception(error)))[-MAX_TRACEBACK:]


def printable(text: str) -> str:
    """Return `text` as PostgreSQL can hold it."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")


def is_deep(value: Any, text: str, levels: int) -> bool:
    """Tell whether JSON (`text` of `value`) is nested deeper than so many levels; without recursion."""
    if text.count("[") + text.count("{") <= levels:
        return False
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
_EXACT = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
_SHOWN = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=_describe)
