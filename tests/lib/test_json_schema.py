"""Text is checked against JSON Schemas, exactly."""

from __future__ import annotations

import pytest

from app.lib.json_schema import NotFitting, check, is_strict, read

TREE = {
    "type": "object",
    "properties": {
        "n": {"type": "integer", "minimum": 0, "maximum": 9},
        "kids": {"type": "array", "items": {"$ref": "#/$defs/leaf"}, "maxItems": 1},
        "kind": {"enum": ["a", 1]},
        "more": {"anyOf": [{"type": "string", "maxLength": 3}, {"type": "null"}]},
    },
    "required": ["n"],
    "additionalProperties": False,
    "$defs": {"leaf": {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#"}}}}},
}


def test_json_that_fits_is_returned_as_it_is_also_from_within_a_fence():
    value = {"n": 1, "kids": [{"kids": [{"n": 2}], "extra": 1.5}], "kind": 1, "more": None}
    assert read('{"n":1,"kids":[{"kids":[{"n":2}],"extra":1.5}],"kind":1,"more":null}', TREE) == value
    assert read('```json\n{"n": 3}\n```', TREE) == {"n": 3}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "JSON"),
        ("{", "JSON"),
        ("{} and more", "JSON"),
        ("[]", "The answer"),
        ("{}", "n"),
        ('{"n": "1"}', "n"),
        ('{"n": 10}', "n"),
        ('{"n": true}', "n"),
        ('{"n": 1, "other": 1}', "other"),
        ('{"n": 1, "kids": [{}, {}]}', "kids"),
        ('{"n": 1, "kids": [{"kids": [{}]}]}', "kids.0.kids.0.n"),
        ('{"n": 1, "kind": "b"}', "kind"),
        ('{"n": 1, "more": "long"}', "more"),
        ("[" * 100_000, "JSON"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(text, place):
    with pytest.raises(NotFitting, match=place):
        read(text, TREE)


@pytest.mark.parametrize(
    "schema",
    [[], None, {"$ref": "#/$defs/none"}, {"type": "string", "pattern": "("}, {"type": "array", "minItems": "many"}],
)
def test_what_is_no_schema_is_refused(schema):
    with pytest.raises(ValueError, match="JSON Schema"):
        check(schema)


def test_strict_is_every_object_closed_and_every_property_required():
    closed = {"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False}
    assert is_strict(closed)
    assert is_strict({"type": "array", "items": closed})
    assert not is_strict(TREE)
    assert not is_strict({**closed, "required": []})
    assert not is_strict({**closed, "properties": {"a": {"type": "object"}}})
