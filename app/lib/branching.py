"""Doing many pieces of work at once: by the caller's own thread, with help from a shared pool.

The caller works too, and a helper takes a piece only when it really starts; so nested work cannot wait for each other's
threads, however small the pool is.
"""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, wait
from dataclasses import dataclass
from typing import Any


@dataclass
class Outcome:
    """What a piece of work returned, or raised."""

    value: Any = None
    error: BaseException | None = None


def do_all(work: Sequence[Callable[[], Any]], limit: int, pool: Callable[[], Executor]) -> list[Outcome]:
    """Do every piece of work, at most `limit` at once, each in the caller's context; `pool` returns who helps."""
    outcomes = [Outcome() for _ in work]
    waiting = deque(zip(work, outcomes, strict=True))
    contexts = [contextvars.copy_context() for _ in range(min(limit, len(work)) - 1)]
    helpers = [pool().submit(context.run, _drain, waiting) for context in contexts]
    _drain(waiting)
    for helper in helpers:
        helper.cancel()  # not started: nothing is left for it
    wait([helper for helper in helpers if not helper.cancelled()])
    return outcomes


def _drain(waiting: deque[tuple[Callable[[], Any], Outcome]]) -> None:
    while True:
        try:
            work, outcome = waiting.popleft()
        except IndexError:
            return
        try:
            outcome.value = work()
        except BaseException as error:  # noqa: BLE001  (the caller looks at it, on its own thread)
            outcome.error = error
