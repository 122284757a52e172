"""Branches of `step.map` and `step.parallel`: each runs to an end, a park or a failure, and then they are joined."""

from collections.abc import Callable, Sequence
from typing import Any

from app.engine.errors import Park, StepKindChanged
from app.engine.runtime import runtime
from app.lib.branching import do_all


def run_all(work: Sequence[Callable[[], Any]], limit: int) -> list[Any]:
    """Run every piece of work to an end, a park or a failure, at most `limit` at once; returns their results.

    Raises:
        Interrupt, StepKindChanged: of one that must stop the run.
        Park: else at least one parked; due when the first of them is.
        Exception: else the first failure in branch order.
    """
    outcomes = do_all(work, limit, lambda: runtime().step_threads)
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    stops = [error for error in errors if isinstance(error, StepKindChanged) or not isinstance(error, Exception | Park)]
    parks = sorted((error for error in errors if isinstance(error, Park)), key=lambda park: park.due_at)
    for error in (*stops, *parks, *errors):
        raise error
    return [outcome.value for outcome in outcomes]
