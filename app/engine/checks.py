"""What a workflow's options may be: everything illegal is refused when the workflow is registered, with a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from app.engine.errors import RegistrationError
from app.lib.durations import seconds
from app.lib.fitting import misfits

if TYPE_CHECKING:
    from app.engine.registry import Workflow


def check(workflow: Workflow) -> None:
    """Check every option of `workflow`: alone against its annotation, then with the others.

    Raises:
        RegistrationError: one is illegal; the message names the workflow and says what to do.
    """
    wrong = next(_wrong(workflow), None)
    if wrong:
        raise RegistrationError(f"Workflow {workflow.name!r}: {wrong}")


def _wrong(workflow: Workflow) -> Iterator[str]:
    yield from misfits(workflow)
    for on in workflow.triggers:
        yield from misfits(on, "on.")
    yield from (sentence for is_legal, sentence in _together(workflow) if not is_legal)


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
    if workflow.cron is None:
        yield not workflow.jitter, "jitter puts off the starts of cron; add cron=, or leave jitter out."
    else:
        why = "the event of a cron run says nothing to compare; make a workflow of its own for events."
        yield debounce is None, f"cron and debounce exclude each other: {why}"
        yield workflow.idempotency is None, f"cron and idempotency exclude each other: {why}"
        yield not is_matched, f"cron and a match of cancel_on exclude each other: {why}"
