"""Fill a JSON Schema from a text: an extract, not a model's answer. Pure and deterministic.

Names of properties say what goes where: a title is a telling phrase, a summary some telling sentences, a number of a
segment the first line of a part of the text. What a schema demands is kept, whatever the text says.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from app.lib import json_schema
from app.sandbox.embedding import words_of
from app.sandbox.extracting import Text

USUAL_ITEMS = 3
MOST_ITEMS = 1000
DEEP = 8  # levels; below, only what must be there is filled
DEEPEST = 60
_TITLES = re.compile(r"title|name|heading|headline|label|topic|subject|keyword|tag", re.IGNORECASE)
_SUMMARIES = re.compile(r"summary|abstract|description|overview|body|content|answer|text|paragraph", re.IGNORECASE)
_PLACES = re.compile(r"segment|line|start|first|begin|index|number", re.IGNORECASE)
_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "PT1M",
    "email": "somebody@example.org",
    "hostname": "example.org",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.org/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


class CannotFill(ValueError):
    """No value that fits was found."""


@dataclass
class _Filling:
    """What is being filled, from which part of the text; `used` is what other places have said already."""

    root: Mapping[str, Any]
    text: Text
    name: str = ""
    depth: int = 0
    part: int | None = None  # which item of an array this is in
    used: set[str] = field(default_factory=set)

    def at(self, name: str) -> _Filling:
        return replace(self, name=name, depth=self.depth + 1)

    def inside(self, text: Text, part: int) -> _Filling:
        return replace(self, text=text, part=part, depth=self.depth + 1)


def fill(schema: Mapping[str, Any], text: Text) -> Any:
    """Return a value that fits `schema`, made of `text`.

    Raises:
        CannotFill: there is none, or it was not found (a pattern that no usual text has).
    """
    return _value(schema, _Filling(schema, text))


def _value(schema: Any, filling: _Filling) -> Any:
    if filling.depth > DEEPEST:
        raise CannotFill("The schema has no end.")
    if not isinstance(schema, Mapping):
        return filling.text.best_sentences(1)[0] if filling.text.sentences else ""
    if "$ref" in schema:
        return _value(_resolve(filling.root, schema["$ref"]), replace(filling, depth=filling.depth + 1))
    if "const" in schema or "enum" in schema:
        return schema["const"] if "const" in schema else _choose(schema["enum"], filling)
    return _typed(schema, filling)


def _typed(schema: Mapping[str, Any], filling: _Filling) -> Any:
    for name in ("anyOf", "oneOf"):
        if name in schema:
            return _first_that_fits(schema[name], filling)
    kind = schema.get("type")
    if isinstance(kind, list):
        return _first_that_fits([{**schema, "type": one} for one in kind], filling)
    make = _KINDS.get(kind or ("object" if "properties" in schema else "string"))
    if make is None:
        raise CannotFill(f"The type {kind!r} is not known.")
    return make(schema, filling)


def _resolve(root: Mapping[str, Any], reference: str) -> Any:
    found: Any = root
    for step in reference.removeprefix("#").strip("/").split("/") if reference != "#" else ():
        found = found.get(step) if isinstance(found, Mapping) else None
    if found is None:
        raise CannotFill(f"There is no {reference}.")
    return found


def _first_that_fits(options: list[Any], filling: _Filling) -> Any:
    plain = [one for one in options if not _is_null(one)]
    null = [one for one in options if _is_null(one)]
    # Far down the way out comes first: null, or what has the fewest parts.
    ordered = [*null, *sorted(plain, key=lambda one: len(str(one)))] if filling.depth > DEEP else [*plain, *null]
    for option in ordered:
        try:
            return _value(option, filling)
        except CannotFill:
            continue
    raise CannotFill("None of the choices can be filled.")


def _is_null(schema: Any) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") == "null"


def _choose(options: list[Any], filling: _Filling) -> Any:
    if not options:
        raise CannotFill("There is nothing to choose from.")
    said = f" {' '.join(words_of(' '.join(line.text for line in filling.text.lines)))} "
    wanted = [f" {' '.join(words_of(one))} " if isinstance(one, str) and one.strip() else "" for one in options]
    counts = [said.count(one) if one.strip() else 0 for one in wanted]
    return options[counts.index(max(counts))]


def _object(schema: Mapping[str, Any], filling: _Filling) -> dict[str, Any]:
    properties, required = dict(schema.get("properties") or {}), list(schema.get("required") or ())
    found = {}
    for name, part in properties.items():
        if filling.depth > DEEP and name not in required:
            continue
        try:
            found[name] = _value(part, filling.at(name))
        except CannotFill:
            if name in required:
                raise
    more = schema.get("additionalProperties")
    for name in required:
        if name not in found:
            found[name] = _value(more if isinstance(more, Mapping) else {"type": "string"}, filling.at(name))
    return found


def _array(schema: Mapping[str, Any], filling: _Filling) -> list[Any]:
    least, most = int(schema.get("minItems") or 0), min(int(schema.get("maxItems", MOST_ITEMS)), MOST_ITEMS)
    if least > most:
        raise CannotFill("The array has no length that fits.")
    if filling.depth > DEEP:
        most = least
    parts = list(_parts(schema.get("items", True), filling, least, most))
    items = []
    for number, part in enumerate(parts):
        try:
            items.append(_value(schema.get("items", True), replace(filling, depth=filling.depth).inside(part, number)))
        except CannotFill:
            if number < least:
                raise
            break
    return items


def _parts(items: Any, filling: _Filling, least: int, most: int) -> Iterator[Text]:
    """Yield the part of the text that each item is filled from."""
    if most == 0 or (not filling.text.lines and not least):
        return
    if isinstance(items, Mapping) and "$ref" in items:
        items = _resolve(filling.root, items["$ref"])
    is_object = isinstance(items, Mapping) and (items.get("type") == "object" or "properties" in items)
    if is_object and filling.text.lines:
        parts = filling.text.chapters(max(1, least), most)
    else:
        parts = [filling.text] * max(least, min(USUAL_ITEMS, most))
    for number in range(max(least, len(parts))):
        yield parts[min(number, len(parts) - 1)] if parts else filling.text


def _string(schema: Mapping[str, Any], filling: _Filling) -> str:
    least, most = int(schema.get("minLength") or 0), schema.get("maxLength")
    if most is not None and least > most:
        raise CannotFill("The text has no length that fits.")
    if schema.get("format") in _FORMATS:
        return _checked(_FORMATS[schema["format"]], schema)
    if "pattern" in schema:
        return _matching(schema, filling)
    said = _said(f"{filling.name} {schema.get('description', '')}", filling)
    return _fitted(said, least, most)


def _said(hint: str, filling: _Filling) -> str:
    text = filling.text
    if _TITLES.search(filling.name):
        candidates = [phrase[:1].upper() + phrase[1:] for phrase in text.phrases(20)]
    elif _SUMMARIES.search(hint) and filling.part is None:
        return " ".join(text.summary(USUAL_ITEMS))
    else:
        candidates = text.best_sentences(20)
    fresh = next((one for one in candidates if one not in filling.used), candidates[0] if candidates else "")
    filling.used.add(fresh)
    return fresh


def _fitted(said: str, least: int, most: int | None) -> str:
    if most is not None and len(said) > most:
        cut = said[: max(0, most - 1)].rpartition(" ")[0] if most > 20 else ""  # noqa: PLR2004
        said = f"{cut.rstrip(',;:')}\u2026" if cut else said[:most]
    while len(said) < least:
        said = f"{said} {said or 'nothing more'}".strip()[: most or None]
        said = said if len(said) >= least else said.ljust(min(least, len(said) + 1), ".")
    return said[:most] if most is not None else said


def _matching(schema: Mapping[str, Any], filling: _Filling) -> str:
    words = [word for sentence in filling.text.best_sentences(3) for word in sentence.split()]
    usual = ["", "a", "A", "ab", "abc", "a-b", "1", "12", "123", "1234", "2026", "#336699", "00:00", "1.0", "a1"]
    for candidate in [*filling.text.best_sentences(3), *words, *usual, *_FORMATS.values()]:
        try:
            return _checked(candidate, schema)
        except CannotFill:
            continue
    raise CannotFill("No usual text fits the pattern.")


def _checked(candidate: str, schema: Mapping[str, Any]) -> str:
    most = schema.get("maxLength")
    fits = len(candidate) >= int(schema.get("minLength") or 0) and (most is None or len(candidate) <= most)
    try:
        fits = fits and re.search(schema.get("pattern", ""), candidate) is not None
        if fits and "pattern" in schema:
            json_schema.read(_quoted(candidate), {"type": "string", "pattern": schema["pattern"]})
    except (re.error, ValueError) as error:
        raise CannotFill("The pattern cannot be used.") from error
    if not fits:
        raise CannotFill("It does not fit.")
    return candidate


def _quoted(text: str) -> str:
    import json

    return json.dumps(text)


def _integer(schema: Mapping[str, Any], filling: _Filling) -> int:
    low, high = _bounds(schema, 1)
    step = schema.get("multipleOf") or 1
    if filling.text.lines and _PLACES.search(filling.name) and (filling.part is not None or filling.text.is_numbered):
        wanted = filling.text.lines[0].number
        if low <= wanted <= high and wanted % step == 0:
            return wanted
    start = low if low > -math.inf else min(1, high)
    found = math.ceil(start / step) * step
    if found > high or int(found) != found:
        raise CannotFill("There is no such whole number.")
    return int(found)


def _number(schema: Mapping[str, Any], _filling: _Filling) -> float:
    low, high = _bounds(schema, 0)
    step = schema.get("multipleOf")
    start = low if low > -math.inf else min(0.0, high)
    if step:
        start = math.ceil(start / step) * step
    strict_low, strict_high = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if strict_low is not None and start <= strict_low:
        start = strict_low + step if step else _between(strict_low, high)
    if start > high or (strict_high is not None and start >= strict_high):
        start = _between(low, strict_high if strict_high is not None else high) if not step else math.inf
    if not low <= start <= high or (strict_high is not None and start >= strict_high):
        raise CannotFill("There is no such number.")
    return float(start)


def _between(low: float, high: float) -> float:
    if high == math.inf:
        return low + max(1.0, abs(low) * 0.01)
    return (low + high) / 2 if low > -math.inf else high - max(1.0, abs(high) * 0.01)


def _bounds(schema: Mapping[str, Any], whole: int) -> tuple[float, float]:
    """Return the lowest and the highest value; of whole numbers (`whole` 1) an open end lies one further in."""
    low = max(schema.get("minimum", -math.inf), _open_end(schema.get("exclusiveMinimum", -math.inf), whole, up=True))
    high = min(schema.get("maximum", math.inf), _open_end(schema.get("exclusiveMaximum", math.inf), whole, up=False))
    return low, high


def _open_end(value: float, whole: int, *, up: bool) -> float:
    if math.isinf(value) or not whole:
        return value
    return math.floor(value) + 1 if up else math.ceil(value) - 1


_KINDS: dict[str, Callable[[Mapping[str, Any], _Filling], Any]] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": lambda _schema, _filling: True,
    "null": lambda _schema, _filling: None,
}
