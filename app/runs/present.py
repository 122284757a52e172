"""What the templates of this room need in words: JSON, durations, links. Pure but for the links."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from flask import url_for
from markupsafe import Markup, escape

from app.engine import RunView, StepView, Why
from app.lib import progress
from app.lib import text as words
from app.lib.clock import now
from app.lib.ids import parse_id
from app.ui import has_endpoint, moment, time_element

MAX_SHOWN = 4_000  # characters of one JSON value on the page; all of it is one click away

LONGEST_INLINE = 60

_SUBJECTS = {"video": ("videos.show", "video_id", "the video")}


def pretty(value: Any) -> str:
    """Return `value` as indented JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def shortened(value: Any) -> tuple[str, bool]:
    """Return `value` as indented JSON of at most `MAX_SHOWN` characters, and whether something was cut."""
    text = pretty(value)
    return (text, False) if len(text) <= MAX_SHOWN else (text[:MAX_SHOWN], True)


def precise(seconds: float | None) -> str:
    """Return a duration as a console shows it: "12 ms", "1.24 s", "2 min 5 s", "3 h 20 min"."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 60:  # noqa: PLR2004
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < 3600:  # noqa: PLR2004
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def sentence(why: Why, *, has_contents: bool) -> str:
    """Return what keeps a run from executing; without contents not the value by which a limit is counted."""
    if has_contents or why.reason != "concurrency":
        return why.sentence
    return f"It waits for a free place within a limit; it is number {why.position} in that queue."


def waiting(why: Why | None, steps: Sequence[StepView], *, has_contents: bool) -> Markup | None:
    """Return what a run waits for, in one sentence, with until when and links to the runs that it waits for."""
    if why is None:
        return None
    said = escape(sentence(why, has_contents=has_contents).rstrip("."))
    child = next((step for step in steps if why.child and step.child == why.child), None)
    if child is not None:
        link = Markup('<a href="{}">the run</a>').format(url_for("runs.show", run_id=child.child))
        said = Markup('It waits for {} that its step <span class="mono">{}</span> has started').format(link, child.key)
    if why.position is not None and why.reason in ("queue", "concurrency"):  # what happens to others is not told here
        said += Markup(", as of {}").format(time_element(now()))
    elif why.next_at and why.reason == "sleeping":
        said += Markup(" until {}").format(moment(why.next_at))
    elif why.next_at and why.reason == "waiting":
        until = min((step.until for step in steps if step.until and step.status == "waiting"), default=None)
        said += Markup(", until {} at the latest").format(moment(until)) if until else Markup("")
    elif why.next_at:
        said += Markup(": {}").format(moment(why.next_at))
    return said + Markup(".")


def progress_of(run: RunView, *, has_contents: bool) -> dict[str, Any] | None:
    """Return what to show of a run's progress, None when that is nothing; without contents only how far it is."""
    if run.is_final or run.status == "debounced":
        return None
    found = progress.shown(run.progress, is_working=run.status == "running")
    if found is None or has_contents:
        return found
    return None if found["percent"] is None else {"percent": found["percent"], "message": run.status.capitalize()}


def where_it_broke(run: RunView) -> str | None:
    """Return where a run failed, in a sentence; None when it did not, or nothing is known of that."""
    if run.status != "failed" or not run.error:
        return None
    if run.error.get("step"):
        return f"Its step {run.error['step']} failed."
    return f"It failed in the body of the workflow, outside any step, at try {run.attempt + 1} of it."


def inline(value: Any) -> str | None:
    """Return a value as it may stand within a line; None when it is too long for that."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if isinstance(value, str) or len(text) <= LONGEST_INLINE else None


def log_fields(fields: Any) -> str:
    """Return what a line of the log says besides, in one line: `video=7 seconds=2.5`."""
    if not isinstance(fields, dict):
        return "" if fields is None else str(fields)
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    return " ".join(f"{name}={text}" for name, text in texts.items())


def usage_facts(steps: Sequence[StepView]) -> list[tuple[str, str]]:
    """Return the models, tokens and cost of all steps that asked one; nothing when none did."""
    used = [step.usage for step in steps if step.usage]
    models = sorted({str(usage["model"]) for usage in used if usage.get("model")})
    totals = [(label, sum(usage.get(name) or 0 for usage in used)) for label, name in _TOTALS]
    facts = [("Models" if len(models) > 1 else "Model", ", ".join(models))] if models else []
    facts += [(label, f"{total:,}") for label, total in totals if total]
    cost = [usage["cost_microusd"] for usage in used if usage.get("cost_microusd") is not None]
    return facts + ([("Cost", words.money(sum(cost)))] if cost else [])


_TOTALS = (("Tokens read", "input_tokens"), ("Tokens written", "output_tokens"))


def subject_id(subject: str | None, kind: str) -> UUID | None:
    """Return the id in a subject such as `video:<id>`, if it is of that kind."""
    found, _, text = (subject or "").partition(":")
    return parse_id(text) if found == kind else None


def subject_link(subject: str | None) -> tuple[str, str] | None:
    """Return (words, address) of what a run is about, when there is a page about it."""
    kind, _, text = (subject or "").partition(":")
    identity = parse_id(text)
    if kind not in _SUBJECTS or identity is None:
        return None
    endpoint, name, words = _SUBJECTS[kind]
    values: dict[str, Any] = {name: identity}
    return (words, url_for(endpoint, **values)) if has_endpoint(endpoint) else None
