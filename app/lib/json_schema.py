"""Check text against a JSON Schema: the part of the language that model providers take, checked by pydantic.

Known: type (also a list of types), properties, required, additionalProperties, items, minItems, maxItems, minLength,
maxLength, pattern, minimum, maximum, exclusiveMinimum, exclusiveMaximum, multipleOf, enum, const, anyOf, oneOf, and
`$ref` into `$defs` or `definitions`. Other words are passed over, as most providers do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import SchemaError, SchemaValidator, ValidationError, core_schema

Schema = Mapping[str, Any]
_DEFINITIONS = ("$defs", "definitions")


class NotFitting(ValueError):
    """A text is no JSON, or not what its schema asks for; the message says where."""


def read(text: str, schema: Schema) -> Any:
    """Return the JSON in `text` when it fits `schema`. A fence of backticks around it, as some models write, goes.

    Raises:
        NotFitting: it does not fit.
        ValueError: the schema itself cannot be used.
    """
    bare = text.strip()
    if bare.startswith("```") and bare.endswith("```"):
        bare = bare[3:-3].removeprefix("json").strip()
    checker = _checker(schema)
    try:
        checker.validate_json(bare, strict=True)
        return json.loads(bare)
    except (ValidationError, RecursionError, ValueError) as error:
        raise NotFitting(_first(error)) from error


def check(schema: Any) -> None:
    """Refuse a schema that nothing could be checked against.

    Raises:
        ValueError: it is none.
    """
    _checker(schema)


def is_strict(schema: Any) -> bool:
    """Tell whether every object in `schema` requires all of its properties and allows no others.

    Only then do OpenAI's models hold to it by construction ("strict").
    """
    if isinstance(schema, list):
        return all(map(is_strict, schema))
    if not isinstance(schema, Mapping):
        return True
    properties = schema.get("properties")
    if schema.get("type") == "object" or isinstance(properties, Mapping):
        names = set(properties or ())
        if schema.get("additionalProperties") is not False or names != set(schema.get("required") or ()):
            return False
    return all(is_strict(part) for part in schema.values())


def _checker(schema: Any) -> SchemaValidator:
    if not isinstance(schema, Mapping):
        raise ValueError("A JSON Schema is an object.")  # noqa: TRY004  (what is caught is one kind)
    named = {
        f"#/{place}/{name}": part for place in _DEFINITIONS for name, part in dict(schema.get(place) or {}).items()
    }
    try:
        definitions = [_named(reference, part) for reference, part in {**named, "#": schema}.items()]
        whole = core_schema.definitions_schema(core_schema.definition_reference_schema("#"), definitions)
        return SchemaValidator(whole, core_schema.CoreConfig(strict=True))
    except (SchemaError, RecursionError, TypeError, AttributeError) as error:
        raise ValueError(f"This is no JSON Schema that can be used: {str(error)[:200]}") from error


def _named(reference: str, schema: Schema) -> Any:
    # In a list of its own, because a schema that is nothing but a reference can carry no name.
    return core_schema.chain_schema([_core(schema)], ref=reference)


def _core(schema: Any) -> Any:
    if not isinstance(schema, Mapping):
        return core_schema.any_schema()  # `true`
    if "$ref" in schema:
        return core_schema.definition_reference_schema(schema["$ref"])
    if "const" in schema or "enum" in schema:
        return core_schema.literal_schema([schema["const"]] if "const" in schema else list(schema["enum"]))
    return _typed(schema)


def _typed(schema: Schema) -> Any:
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return core_schema.union_schema([_core(part) for part in schema[choice]], mode="left_to_right")
    kind = schema.get("type")
    if isinstance(kind, list):
        return core_schema.union_schema([_core({**schema, "type": one}) for one in kind], mode="left_to_right")
    if kind is None and "properties" in schema:
        kind = "object"
    make = _KINDS.get(kind or "")
    return make(schema) if make else core_schema.any_schema()


def _object(schema: Schema) -> Any:
    required, more = set(schema.get("required") or ()), schema.get("additionalProperties", True)
    fields = {
        name: core_schema.typed_dict_field(_core(part), required=name in required)
        for name, part in dict(schema.get("properties") or {}).items()
    }
    fields |= {
        name: core_schema.typed_dict_field(core_schema.any_schema(), required=True) for name in required - set(fields)
    }
    if isinstance(more, Mapping):
        return core_schema.typed_dict_schema(fields, extra_behavior="allow", extras_schema=_core(more))
    return core_schema.typed_dict_schema(fields, extra_behavior="allow" if more else "forbid")


def _array(schema: Schema) -> Any:
    return core_schema.list_schema(
        _core(schema.get("items", True)), min_length=schema.get("minItems"), max_length=schema.get("maxItems")
    )


def _string(schema: Schema) -> Any:
    return core_schema.str_schema(
        min_length=schema.get("minLength"), max_length=schema.get("maxLength"), pattern=schema.get("pattern")
    )


def _number(schema: Schema) -> Any:
    make = core_schema.int_schema if schema["type"] == "integer" else core_schema.float_schema
    return make(
        ge=schema.get("minimum"),
        le=schema.get("maximum"),
        gt=schema.get("exclusiveMinimum"),
        lt=schema.get("exclusiveMaximum"),
        multiple_of=schema.get("multipleOf"),
    )


_KINDS: dict[str, Callable[[Schema], Any]] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "integer": _number,
    "number": _number,
    "boolean": lambda _schema: core_schema.bool_schema(),
    "null": lambda _schema: core_schema.none_schema(),
}


def _first(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return "It is no JSON."
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place or 'The answer'}: {first['msg']}"
