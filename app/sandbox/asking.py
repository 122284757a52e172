"""What both chat APIs have in common: a checked request, and the extract that answers it."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.lib import json_schema
from app.sandbox.embedding import count_tokens
from app.sandbox.errors import ApiError, unknown_model
from app.sandbox.extracting import Text
from app.sandbox.filling import CannotFill, fill

MODELS = ("sandbox-chat", "gpt-5.5", "gpt-5.4", "gpt-5.4-mini", "gpt-4o-mini")
MAX_TOKENS = 1_000_000  # of one prompt
SENTENCES = 4  # of an answer without a schema
REFUSAL = "I cannot help with that."
PIECE = 12  # characters of one piece of a stream


@dataclass(frozen=True)
class Asked:
    """One checked request. `schema` is None for text; `most_tokens` is 0 when nothing limits the answer."""

    model: str
    prompt: str
    input_tokens: int
    schema: Mapping[str, Any] | None = None
    is_json: bool = False
    most_tokens: int = 0
    is_streamed: bool = False
    has_usage: bool = True

    @property
    def content_hash(self) -> str:
        """Return the SHA-256 of what is asked."""
        asked = [self.prompt, self.schema, self.most_tokens]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Written:
    """An answer: text or a refusal, whether it breaks off, and its tokens."""

    text: str
    is_refusal: bool = False
    is_cut: bool = False

    @property
    def tokens(self) -> int:
        """Return how many tokens it has."""
        return count_tokens(self.text)

    @property
    def pieces(self) -> list[str]:
        """Return the text as a stream brings it."""
        return [self.text[at : at + PIECE] for at in range(0, len(self.text), PIECE)] or [""]


def write(asked: Asked, fault: str = "") -> Written:
    """Answer a request, wrongly when `fault` (refusal, garbled, cut) says so.

    Raises:
        ApiError: nothing fits the schema.
    """
    if fault == "refusal":
        return Written(REFUSAL, is_refusal=True)
    text = _text(asked)
    if fault == "garbled":
        return Written(text[: max(1, len(text) // 2)])
    most = 1 if fault == "cut" else asked.most_tokens
    if most and count_tokens(text) > most:
        return Written(text.encode()[: most * 4].decode(errors="ignore"), is_cut=True)
    return Written(text)


def _text(asked: Asked) -> str:
    text = Text.of(asked.prompt)
    if asked.schema is not None:
        try:
            return json.dumps(fill(asked.schema, text), ensure_ascii=False)
        except CannotFill as error:
            raise ApiError(400, f"The sandbox cannot fill this schema: {error}", param="schema") from error
    said = " ".join(text.summary(SENTENCES)) or "Nothing was asked."
    return json.dumps({"answer": said}, ensure_ascii=False) if asked.is_json else said


def object_of(body: object) -> dict[str, Any]:
    """Return a request's body as an object that names a model.

    Raises:
        ApiError: it is none.
    """
    if not isinstance(body, dict):
        raise ApiError(400, "We could not parse the JSON body of your request.")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise ApiError(400, "you must provide a model parameter", param="model")
    if model not in MODELS and not model.startswith("fault-"):
        raise unknown_model(model)
    return body


def read_messages(messages: object, param: str) -> tuple[str, int]:
    """Return what people said (not the instructions) as one text, and the tokens of everything.

    Raises:
        ApiError: they are no messages, or too long.
    """
    if not isinstance(messages, list) or not messages:
        raise ApiError(400, f"Invalid '{param}': a list of messages is expected.", param=param)
    said, tokens = [], 3
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise ApiError(400, f"Invalid '{param}': every message has a role and content.", param=param)
        text = _content(message.get("content"), param)
        tokens += count_tokens(text) + 4
        if message["role"] == "user":
            said.append(text)
    if tokens > MAX_TOKENS:
        raise ApiError(
            400,
            f"This model's maximum context length is {MAX_TOKENS} tokens, however you requested {tokens} tokens.",
            param=param,
            code="context_length_exceeded",
        )
    return "\n".join(said), tokens


def _content(content: object, param: str) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        return "\n".join(str(part.get("text", "")) for part in content)
    raise ApiError(400, f"Invalid '{param}': content is text or a list of parts.", param=param)


def read_format(form: object, param: str) -> tuple[Mapping[str, Any] | None, bool]:
    """Return the schema that a format asks for, and whether it asks for JSON of any kind.

    Raises:
        ApiError: the format or its schema cannot be used.
    """
    if form is None or (isinstance(form, dict) and form.get("type") == "text"):
        return None, False
    kind = form.get("type") if isinstance(form, dict) else None
    if not isinstance(form, dict) or kind not in ("json_object", "json_schema"):
        raise ApiError(400, f"Invalid value for '{param}.type'.", param=param, code="invalid_value")
    if kind == "json_object":
        return None, True
    inner = form.get("json_schema", form)
    schema = inner.get("schema") if isinstance(inner, dict) else None
    if not isinstance(schema, dict) or not isinstance(inner.get("name"), str) or not inner["name"]:
        raise ApiError(400, f"Missing required parameter: '{param}.name' or '{param}.schema'.", param=param)
    try:
        json_schema.check(schema)
        if inner.get("strict") and not json_schema.is_strict(schema):
            raise ValueError("'required' must name every property, and 'additionalProperties' must be false.")  # noqa: TRY301
    except ValueError as error:
        message = f"Invalid schema for response_format '{inner['name']}': {error}"
        raise ApiError(400, message, param=param, code="invalid_json_schema") from error
    return schema, True


def read_most(value: object, param: str) -> int:
    """Return the most tokens that an answer may have; 0: any.

    Raises:
        ApiError: it is no whole number above zero.
    """
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ApiError(400, f"Invalid value for '{param}': a whole number above zero.", param=param)
    return value


def new_name(prefix: str) -> str:
    """Return a name for an answer."""
    return f"{prefix}{secrets.token_hex(16)}"
