"""JSON as text: values exactly, and what is only shown to people as well as it can be."""

from __future__ import annotations

import json
import traceback
from datetime import date
from typing import Any
from uuid import UUID

MAX_MESSAGE = 2000  # characters of what people are told
MAX_PATH = 200  # characters of a path into what is not JSON; it may lead in circles
MAX_TRACEBACK = 8192  # characters; its end says most
NOT_JSON = (TypeError, ValueError, RecursionError)


def dumps(value: Any) -> str:
    """Return `value` as JSON text, or raise one of `NOT_JSON` (NaN, a set, an object, ...)."""
    return _EXACT.encode(value)


def same_again(value: Any, text: str) -> Any:
    """Return `value` as whoever reads its JSON `text` will see it (lists for tuples, one character for surrogates)."""
    if value is None or type(value) in (int, bool) or (type(value) is str and "\\ud" not in text):
        return value
    return json.loads(text)  # of two surrogates that are a pair it makes one character


def where_not_json(value: Any) -> str:
    """Return the path to the first part of `value` that is not JSON, such as `['chapters'][3]`; empty: all of it."""
    path = ""
    while len(path) < MAX_PATH and isinstance(value, dict | list | tuple):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        found = next(((key, part) for key, part in parts if not _is_json(part)), None)
        if found is None:
            break  # a key
        path, value = f"{path}[{found[0]!r}]", found[1]
    return path[:MAX_PATH]


def shown(values: list[Any], most: int, levels: int) -> str:
    """Return a list as JSON for people to look at.

    What is not JSON is described instead, and so is what is over `most` bytes or nested deeper than so many levels.
    """
    try:
        text = _SHOWN.encode(values)
    except NOT_JSON:
        return json.dumps([_describe(value) for value in values])
    if len(text) > most:
        return json.dumps([f"({len(text)} bytes, not kept)"])
    return json.dumps([f"(over {levels} levels deep, not kept)"]) if is_deep(values, text, levels) else text


def error_of(
    error: BaseException, code: str = "error", message: str = "", *, is_traced: bool = False
) -> dict[str, Any]:
    """Return an exception as it is kept and shown: class, code, message; whatever it says, or cannot say."""
    code = printable(code) if isinstance(code, str) else "error"
    shown = {"class": type(error).__name__, "code": code, "message": printable(text_of(message or error))[:MAX_MESSAGE]}
    return {**shown, "traceback": traceback_of(error)} if is_traced else shown


def without_traceback(error: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return an error as others than its run's own page may have it: where our code broke is no business of theirs."""
    return error and {name: value for name, value in error.items() if name != "traceback"}


def text_of(value: object) -> str:
    """Return `str(value)`, or what it is where that raises."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001  (its own __str__ may raise anything)
        return f"<{type(value).__name__} that has no text>"


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


def _is_json(value: Any) -> bool:
    try:
        _EXACT.encode(value)
    except NOT_JSON:
        return False
    return True


def _describe(value: Any) -> str:
    return str(value) if isinstance(value, UUID | date) else f"<{type(value).__name__}>"


# Made once: json.dumps makes an encoder a call.
_EXACT = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
_SHOWN = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=_describe)
