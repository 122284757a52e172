"""Whether the fields of a dataclass hold what their annotations say, and in words what they should hold."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

MOST = 2**31 - 1  # of a whole number: what PostgreSQL calls an integer
SHOWN = 200  # characters of a value in a message
_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "True or False"}


class Fit(NamedTuple):
    """What a value must be besides its type, as in `Annotated[int, Fit("an even number", lambda n: n % 2 == 0)]`.

    A `test` that raises ValueError says itself what is wrong.
    """

    words: str
    test: Callable[[Any], object] = lambda _value: True


def whole(least: int, most: int = MOST) -> Fit:
    """Return the fit of a whole number between these two."""
    return Fit(f"a whole number from {least} to {most}", lambda number: least <= number <= most)


def called_with(*names: str) -> Fit:
    """Return the fit of a plain function that can be called with so many arguments."""

    def test(function: Callable[..., Any]) -> bool:
        kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
        if any(is_kind(call) for is_kind in kinds for call in (function, type(function).__call__)):
            return False
        try:
            inspect.signature(function, follow_wrapped=False).bind(*names)
        except TypeError:
            return False
        except ValueError:  # it is written in C and does not say
            return True
        return True

    return Fit(f"a function of ({', '.join(names)}), without `async` and `yield`: nobody would wait for those", test)


def misfits(owner: Any, path: str = "") -> Iterator[str]:
    """Yield a sentence for each field of a dataclass, and of those that it holds, whose value does not fit."""
    hints = get_type_hints(type(owner), include_extras=True)
    for field in fields(owner):
        name, value, kind = path + field.name, getattr(owner, field.name), hints[field.name]
        wrong = _complaint(value, kind)
        if wrong is not None:
            yield f"{name}: {wrong}" if wrong else f"{name} must be {_words(kind)}, not {repr(value)[:SHOWN]}."
            continue
        for inner in value if isinstance(value, list | tuple) else (value,):
            if is_dataclass(inner):
                yield from misfits(inner, f"{name}.")


def _complaint(value: Any, kind: Any) -> str | None:
    """Return None where a value fits, else what its test says of it, or "" where that says nothing."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _tested(value, *inner)
    if origin in (Union, UnionType):
        found = [_complaint(value, each) for each in inner]
        return None if None in found else max(filter(None, found), default="")
    if origin is Sequence and isinstance(value, list | tuple):
        return next((wrong for wrong in (_complaint(item, *inner) for item in value) if wrong is not None), None)
    return None if _is(value, kind, origin, inner) else ""


def _tested(value: Any, kind: Any, fit: Fit) -> str | None:
    wrong = _complaint(value, kind)
    if wrong is not None:
        return wrong
    try:
        return None if fit.test(value) else ""
    except ValueError as error:
        return str(error)


def _is(value: Any, kind: Any, origin: Any, inner: tuple[Any, ...]) -> bool:
    if origin is Sequence:
        return False  # a text is one too, and a generator could be looked through only once
    if origin is Literal:
        return value in inner
    if origin is Callable:
        return callable(value)
    if kind in (int, float):  # True is a slip of the pen, and NaN is less than nothing
        numbers = int if kind is int else (int, float)
        return isinstance(value, numbers) and not isinstance(value, bool) and math.isfinite(value)
    return kind is Any or isinstance(value, kind)


def _words(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return str(inner[1].words)
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin in (Union, UnionType):
        return " or ".join(_words(each) for each in inner if each is not NoneType)
    if origin is Sequence:
        return f"a list of {_words(inner[0])}"
    return "a function" if origin is Callable else _WORDS.get(kind, f"{kind.__name__}(...)")
