"""Input of the console's forms and addresses."""

from __future__ import annotations

import json
import math
from typing import Any
from uuid import UUID

from werkzeug.datastructures import MultiDict

from app.engine import StepView
from app.errors import Invalid, NotFound
from app.lib.ids import parse_id
from app.runs.queries import STATUSES

MAX_INPUT = 16_384


def parse_filters(args: MultiDict[str, str]) -> tuple[str | None, str | None, UUID | None]:
    """Return status, workflow and the id to page on from, of a list's address; what is unknown is left out."""
    status = args.get("status", "")
    return (
        status if status in STATUSES else None,
        args.get("workflow", "")[:200].replace("\x00", "") or None,
        parse_id(args.get("before", "")),
    )


def parse_rerun(form: MultiDict[str, str], steps: list[StepView]) -> tuple[str, list[Any] | None]:
    """Return the step to go on at, and its new arguments when they were edited.

    Raises:
        NotFound: the run has no such step.
        Invalid: the input is not a JSON list, or too long.
    """
    step = next((step for step in steps if step.key == form.get("step", "")), None)
    if step is None:
        raise NotFound("There is no such step to run again. Reload the page and choose another one.")
    text = form.get("input", "").strip()
    if not text:
        return step.key, None
    if len(text) > MAX_INPUT:
        raise _invalid("it is too long. At most 16 kB can be edited here.")
    try:
        edited = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise _invalid(f"it is not JSON ({error}). Correct it and try again.") from None
    if edited == step.input:
        return step.key, None
    if not isinstance(edited, list):
        raise _invalid("it must be a list: the step's arguments, in their order. Put it in [ ].")
    return step.key, edited


def parse_rerun_json(given: Any, steps: list[StepView]) -> tuple[str, list[Any] | None]:
    """Return the same of `{"step": key, "input": [...]}`; `input` may be left out.

    Raises:
        NotFound: the run has no such step.
        Invalid: the input is not a list, or too long; or there is no such object.
    """
    if not isinstance(given, dict) or not isinstance(given.get("step"), str):
        sentence = 'Send a JSON object with the key of the step to go on at: {"step": "..."}.'
        raise Invalid(sentence, {"step": sentence})
    text = json.dumps(given["input"]) if given.get("input") is not None else ""
    return parse_rerun(MultiDict({"step": given["step"], "input": text}), steps)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not allowed")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):  # it reads as infinity, which no JSON column takes
        raise ValueError(f"{text[:20]} is too large a number")
    return number


def _invalid(what: str) -> Invalid:
    sentence = f"The input was not used: {what}"
    return Invalid(sentence, {"input": sentence})
