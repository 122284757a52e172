"""Expressions over plain JSON: `event.data.minutes > 1 and event.data.kind in ["talk", "course"]`.

A path such as `event.data.id` is the common case and is looked up directly. Everything else goes through simpleeval
with nothing but what is listed here: there are no functions, no powers, no formatting and no comprehensions, so that
the work is bounded by the length of the text and of the data. An expression may come from anybody.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from simpleeval import DEFAULT_OPERATORS, InvalidExpression, SimpleEval

MAX_LENGTH = 1000  # characters
MAX_BITS = 1024  # of a whole number that comes out: its text is used as a key
PATH = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)*")
_Kinds = tuple[type[ast.AST], ...]
_VALUES: _Kinds = (ast.Name, ast.Constant, ast.Attribute, ast.Subscript, ast.List)
_NODES: _Kinds = (*_VALUES, ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.Compare, ast.IfExp)
_NUMBERS: _Kinds = (ast.Sub, ast.Mult, ast.Div, ast.Mod)  # on two numbers
_ALIKE: _Kinds = (ast.Add, ast.Lt, ast.LtE, ast.Gt, ast.GtE)  # on two numbers or two texts
_ANY: _Kinds = (ast.Not, ast.USub, ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn)
_OPERATIONS: _Kinds = (*_NUMBERS, *_ALIKE, *_ANY)
_KNOWN = (*_NODES, *_OPERATIONS, ast.boolop, ast.expr_context)
_PLAIN = (str, int, float, bool, type(None))
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_FOREIGN = re.compile(r"===|!==|&&|\|\||!(?!=)|\?|(?<![=!<>:])=(?!=)")  # as other languages write it
_OURS = {"===": "==", "=": "==", "!==": "!=", "&&": "and", "||": "or", "!": "not", "?": "x if y else z"}
_OURS |= {"null": "None", "undefined": "None", "true": "True", "false": "False"}


class ExpressionError(ValueError):
    """An expression is malformed, or cannot be evaluated over what there is: trying again cannot help."""

    code = "expression"


def check(text: str, names: Iterable[str] = ("event",)) -> None:
    """Refuse what could never be evaluated over `names`.

    Raises:
        ExpressionError: it is malformed, too long, or uses what there is not; the message says what.
    """
    root = {text.partition(".")[0]} if PATH.fullmatch(text) else None
    unknown = (root or {node.id for node in ast.walk(_parse(text)) if isinstance(node, ast.Name)}) - set(names)
    if unknown:
        advice = "".join(f" Write {_OURS[name]} for {name}." for name in sorted(unknown & set(_OURS)))
        used, there = ", ".join(sorted(unknown)), " and ".join(names)
        raise ExpressionError(f"{text!r} uses {used}; there is only {there}.{advice}")


def evaluate(text: str, names: Mapping[str, Any]) -> Any:
    """Return the value of `text`, JSON again. What is missing is None.

    Only numbers are calculated with, and texts joined by `+`. `<` and its like compare two numbers or two texts; `==`
    and `in` compare anything, so that `event.data.kind == "talk"` is false where there is no kind.

    Raises:
        ExpressionError: it cannot be evaluated: a name that there is not, a comparison with None or between types.
    """
    check(text, names)
    if PATH.fullmatch(text):
        return look_up(text, names)
    try:
        value = _Evaluator(names).eval(text, _parse(text))
    except (InvalidExpression, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise ExpressionError(f"{text!r} cannot be evaluated: {error}") from error
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise ExpressionError(f"{text!r} gives too large a number; it may have {MAX_BITS} bits.")
    return value


def matching(match: str | None, data: dict[str, Any]) -> tuple[list[str] | None, str | None]:
    """Return the columns of a wait that matches by a path such as `data.course_id`: the path, and what must be there.

    The second is None when `data`, the payload of the run's own event, has nothing there.
    """
    if match is None:
        return None, None
    start, _, path = match.partition(".")
    if start != "data" or not PATH.fullmatch(path):
        raise ExpressionError(f"match={match!r} is no path into an event's data; write it like data.course_id.")
    return path.split("."), fingerprint(look_up(path, data))


def fingerprint(value: Any) -> str | None:
    """Return the MD5 of a value's text as PostgreSQL's `#>>` gives it (it guards nothing: short keys for an index)."""
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return hashlib.md5(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def fingerprints(data: dict[str, Any]) -> list[str]:
    """Return those of all values to which a path into `data` can lead."""
    found, inner = set(), [data]
    while inner:
        for value in inner.pop().values():
            found.add(fingerprint(value))
            if isinstance(value, dict):
                inner.append(value)
    return sorted(filter(None, found))


def look_up(path: str, context: Mapping[str, Any]) -> Any:
    """Return the value at a dotted path such as `event.data.id`, or None when there is none."""
    return at(path.split("."), context)


def at(path: Sequence[str], context: Any) -> Any:
    """Return the value at a path of several names, or None when there is none."""
    return functools.reduce(_item, path, context)


def _item(container: Any, key: Any) -> Any:
    is_there = isinstance(container, dict) and isinstance(key, str) and key in container
    return container[key] if is_there or (isinstance(container, list) and key in range(len(container))) else None


@functools.lru_cache(maxsize=1024)
def _parse(text: str) -> ast.expr:
    """Return the tree of `text`, in which there is nothing but what is listed above."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"An expression has at most {MAX_LENGTH} characters; this one has {len(text)}.")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        foreign = _FOREIGN.search(_QUOTED.sub("''", text))
        why = f"write `{_OURS[foreign[0]]}` for `{foreign[0]}`" if foreign else getattr(error, "msg", str(error))
        raise ExpressionError(f"{text!r} is no expression: {why}. It is written as in Python.") from error
    for node in ast.walk(tree):
        name = str(getattr(node, "attr", getattr(node, "id", "")))
        is_plain = not isinstance(node, ast.Constant) or type(node.value) in _PLAIN
        if not isinstance(node, _KNOWN) or name.startswith("_") or not is_plain:
            raise ExpressionError(f"{text!r} uses {name or type(node).__name__}, which expressions do not have.")
    return tree


def _guarded(operator: type[ast.AST]) -> Callable[[Any, Any], Any]:
    def operate(left: Any, right: Any) -> Any:
        kinds = {type(left), type(right)}
        if kinds <= {int, float} or (operator in _ALIKE and kinds == {str}):
            return DEFAULT_OPERATORS[operator](left, right)
        raise TypeError(f"{' and '.join(sorted(kind.__name__ for kind in kinds))} do not go together here")

    return operate


_OPERATORS = {kind: _guarded(kind) if kind in _NUMBERS + _ALIKE else DEFAULT_OPERATORS[kind] for kind in _OPERATIONS}


class _Evaluator(SimpleEval):  # type: ignore[misc]  # the library has no types
    """Simpleeval with our own list of what there is. Its constructor, which offers more, is not called."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        self.names, self.operators = names, _OPERATORS
        self.functions: dict[str, Any] = {}
        self.nodes = {kind: getattr(self, f"_eval_{kind.__name__.lower()}") for kind in _NODES}

    def _check_disallowed_items(self, item: Any) -> None:
        """Look for nothing: plain JSON holds no function, and looking through it at each node would take long."""

    def _eval_attribute(self, node: ast.Attribute) -> Any:
        return _item(self._eval(node.value), node.attr)

    def _eval_subscript(self, node: ast.Subscript) -> Any:
        return _item(self._eval(node.value), self._eval(node.slice))

    def _eval_list(self, node: ast.List) -> list[Any]:
        return [self._eval(item) for item in node.elts]
