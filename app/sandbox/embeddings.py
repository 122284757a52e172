"""`/v1/embeddings`: parse the request, answer with vectors as floats or base64."""

from __future__ import annotations

import array
import base64
import sys
from dataclasses import dataclass
from typing import Any

from app.sandbox import embedding
from app.sandbox.errors import ApiError, unknown_model

MODELS = {
    "sandbox-embed": 1536,
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
}
OWN = ("sandbox-embed",)
FIXED = ("text-embedding-ada-002",)  # models without the `dimensions` parameter
MAX_INPUTS = 2048
MAX_TOKENS = 8192  # of one input
MAX_TOTAL_TOKENS = 300_000


@dataclass(frozen=True)
class Asked:
    """One checked request; token arrays have become texts of numbers."""

    texts: tuple[str, ...]
    tokens: tuple[int, ...]
    model: str
    dimensions: int
    is_base64: bool


def parse(body: object) -> Asked:
    """Check a request's JSON.

    Raises:
        ApiError: what the real service would say.
    """
    if not isinstance(body, dict):
        raise ApiError(400, "We could not parse the JSON body of your request.")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise ApiError(400, "you must provide a model parameter", param="model")
    if model not in MODELS and not model.startswith("fault-"):
        raise unknown_model(model)
    texts, tokens = _inputs(body.get("input"))
    encoding = body.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise ApiError(
            400,
            f"Invalid value: '{encoding}'. Supported values are: 'float' and 'base64'.",
            param="encoding_format",
            code="invalid_value",
        )
    return Asked(texts, tokens, model, _dimensions(body.get("dimensions"), model), encoding == "base64")


def _dimensions(wanted: object, model: str) -> int:
    most = MODELS.get(model, embedding.DIMENSIONS)
    if wanted is None:
        return most
    if model in FIXED:
        raise ApiError(400, "This model does not support specifying dimensions.", param="dimensions")
    if not isinstance(wanted, int) or isinstance(wanted, bool) or not 1 <= wanted <= most:
        raise ApiError(400, f"Invalid value for 'dimensions': from 1 to {most}.", param="dimensions")
    return wanted


def _inputs(value: object) -> tuple[tuple[str, ...], tuple[int, ...]]:
    items: list[Any] = value if isinstance(value, list) else [value]
    if items and all(isinstance(item, int) for item in items):
        items = [items]  # one text as token numbers
    if not items or len(items) > MAX_INPUTS:
        raise _bad_input(f"between 1 and {MAX_INPUTS} inputs")
    texts, tokens = [], []
    for item in items:
        if isinstance(item, str) and item:
            texts.append(item)
            tokens.append(embedding.count_tokens(item))
        elif isinstance(item, list) and item and all(isinstance(number, int) for number in item):
            texts.append(" ".join(map(str, item)))
            tokens.append(len(item))
        else:
            raise _bad_input("texts that are not empty, or arrays of tokens")
    if max(tokens) > MAX_TOKENS:
        raise ApiError(
            400,
            f"This model's maximum context length is {MAX_TOKENS} tokens, however you requested {max(tokens)} tokens.",
            param="input",
            code="context_length_exceeded",
        )
    if sum(tokens) > MAX_TOTAL_TOKENS:
        raise ApiError(400, f"Requested more than {MAX_TOTAL_TOKENS} tokens in one request.", param="input")
    return tuple(texts), tuple(tokens)


def _bad_input(wanted: str) -> ApiError:
    return ApiError(400, f"'$.input' is invalid: {wanted} are expected.", param="input", code="invalid_value")


def render(asked: Asked) -> dict[str, Any]:
    """Return the answer's JSON."""
    space = "" if asked.model in OWN else f"{asked.model} "
    vectors = [embedding.embed(text, asked.dimensions, space) for text in asked.texts]
    return {
        "object": "list",
        "model": asked.model,
        "data": [
            {"object": "embedding", "index": index, "embedding": _packed(vector) if asked.is_base64 else vector}
            for index, vector in enumerate(vectors)
        ],
        "usage": {"prompt_tokens": sum(asked.tokens), "total_tokens": sum(asked.tokens)},
    }


def _packed(vector: list[float]) -> str:
    floats = array.array("f", vector)
    if sys.byteorder == "big":
        floats.byteswap()  # the API's bytes are little-endian
    return base64.b64encode(floats.tobytes()).decode()
