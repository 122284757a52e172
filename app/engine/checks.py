"""What a workflow's options may be: everything illegal is refused when the workflow is registered, with a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from app.engine.errors import RegistrationError
from app.engine.options import Isolated
from app.lib import expressions
from app.lib.cron import next_tick
from app.lib.durations import seconds

if TYPE_CHECKING:
    from app.engine.registry import Workflow

MAX_LIMITS = 2
MAX_RETRIES = 20
MIN_MEMORY = 64 << 20  # bytes of an isolated run: its threads alone take a part of it
HOLE = re.compile(r"\{([^{}]*)\}")  # in a subject
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_EVENT = re.compile(r"[a-z0-9][a-z0-9_.-]*(/[a-z0-9_.-]+)*")


def check(workflow: Workflow) -> None:
    """Check every option of `workflow`, alone and with the others.

    Raises:
        RegistrationError: one is illegal; the message names the workflow and says what to do.
    """
    try:
        for text, names in _expressions(workflow):
            expressions.check(text, names)
        found = [*_alone(workflow), *_together(workflow)]
        wrong = [sentence for is_legal, sentence in found if not is_legal]
    except ValueError as error:
        wrong = [str(error)]
    if wrong:
        raise RegistrationError(f"Workflow {workflow.name!r}: {wrong[0]}")


def _said(workflow: Workflow, *names: str) -> list[Any]:
    """Return what its limits say under these names."""
    limits = (*workflow.concurrency, workflow.throttle, workflow.rate_limit, workflow.debounce, workflow.singleton)
    found = [getattr(limit, name, None) for limit in (*limits, workflow.timeouts) for name in names]
    return [value for value in found if value is not None]


def _expressions(workflow: Workflow) -> Iterator[tuple[str, tuple[str, ...]]]:
    texts = [*_said(workflow, "key"), *(on.if_ for on in workflow.triggers)]
    texts += [workflow.idempotency, *HOLE.findall(workflow.subject or "")]
    texts += [workflow.priority] if isinstance(workflow.priority, str) else []
    yield from ((text, ("event",)) for text in texts if text is not None)
    yield from ((ending.if_, ("event", "arriving")) for ending in workflow.cancel_on if ending.if_ is not None)


def _alone(workflow: Workflow) -> Iterator[tuple[bool, str]]:
    yield bool(_NAME.fullmatch(workflow.name)), "the name must be lower case words joined by hyphens."
    yield 0 <= workflow.retries <= MAX_RETRIES, f"retries must be between 0 and {MAX_RETRIES}."
    yield bool(workflow.backoff) and min(workflow.backoff) > 0, "backoff must be positive seconds."
    durations = _said(workflow, "period", "timeout", "start", "finish")
    yield all(seconds(duration) > 0 for duration in durations), "a duration must be longer than nothing."
    yield len(workflow.concurrency) <= MAX_LIMITS, "at most two concurrency limits are allowed."
    yield workflow.jitter >= 0, "jitter must be seconds, at least 0."
    process = workflow.process or Isolated()
    yield (process.memory_bytes or MIN_MEMORY) >= MIN_MEMORY, f"an isolated run needs {MIN_MEMORY} bytes of memory."
    yield process.cpu_seconds is None or process.cpu_seconds >= 1, "cpu_seconds must be at least 1."
    is_due = workflow.cron is None or next_tick(workflow.cron, datetime.now(UTC)) is not None
    yield is_due, f"{workflow.cron!r} is never due."
    yield all(limit >= 1 for limit in _said(workflow, "limit")), "a limit must be at least 1."
    yield all(burst >= 1 for burst in _said(workflow, "burst")), "the burst of a throttle must be at least 1."
    yield set(_said(workflow, "mode")) <= {"skip", "cancel"}, "the mode of a singleton is 'skip' or 'cancel'."
    for on in workflow.triggers:
        name = on.event.removesuffix("/*")
        yield name == "*" or bool(_EVENT.fullmatch(name)), f"{on.event!r} is no event name; write 'video/uploaded'."
    for ending in workflow.cancel_on:
        yield bool(_EVENT.fullmatch(ending.event)), f"cancel_on needs the name of one event, not {ending.event!r}."
        match = ending.match
        yield match is None or bool(expressions.PATH.fullmatch(match)), f"match {match!r} is no path like 'data.id'."


def _together(workflow: Workflow) -> Iterator[tuple[bool, str]]:
    """Yield what may stand together: a debounced run starts later, with another event than it was made for."""
    debounce, start = workflow.debounce, workflow.timeouts.start
    is_matched = any(ending.match for ending in workflow.cancel_on)
    if debounce:
        period = seconds(debounce.period)
        why = "a debounced run starts when its events have come to rest; leave one of the two out."
        for option in ("throttle", "rate_limit", "singleton", "idempotency"):
            yield getattr(workflow, option) is None, f"debounce and {option} exclude each other: {why}"
        is_capped = debounce.timeout is None or seconds(debounce.timeout) >= period
        yield is_capped, "debounce.timeout must not be shorter than debounce.period."
        is_enough = start is None or seconds(start) > period
        yield is_enough, "timeouts.start must be longer than debounce.period, or no run would ever start."
    if workflow.cron is not None:
        why = "the event of a cron run says nothing to compare; make a workflow of its own for events."
        yield debounce is None, f"cron and debounce exclude each other: {why}"
        yield workflow.idempotency is None, f"cron and idempotency exclude each other: {why}"
        yield not is_matched, f"cron and a match of cancel_on exclude each other: {why}"
