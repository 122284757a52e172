"""Branches of `step.map` and `step.parallel`: run by the caller's own thread, with help from a shared pool.

The caller works too, and a helper takes a branch only when it really starts; so nested branches cannot wait
for each other's threads, however small the pool is.
"""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from app.engine.errors import Park
from app.engine.runtime import runtime

_pool: ThreadPoolExecutor | None = None
_pool_lock = threading.Lock()


@dataclass
class _Outcome:
    value: Any = None
    error: BaseException | None = None


def run_all(work: Sequence[Callable[[], Any]], limit: int) -> list[Any]:
    """Run every piece of work to an end, a park or a failure, at most `limit` at once; returns their results.

    Raises:
        Park: at least one parked; due when the first of them is.
        Exception: else the first failure in branch order.
    """
    outcomes = [_Outcome() for _ in work]
    waiting = deque(zip(work, outcomes, strict=True))
    helpers: list[Future[None]] = []
    for _ in range(min(limit, len(work)) - 1):
        context = contextvars.copy_context()
        helpers.append(_shared_pool().submit(context.run, _drain, waiting))
    _drain(waiting)
    for helper in helpers:
        helper.cancel()  # not started: nothing is left for it
    wait([helper for helper in helpers if not helper.cancelled()])
    return _join([outcome.error for outcome in outcomes], outcomes)


def _drain(waiting: deque[tuple[Callable[[], Any], _Outcome]]) -> None:
    while True:
        try:
            work, outcome = waiting.popleft()
        except IndexError:
            return
        try:
            with runtime().ports.app_context():
                outcome.value = work()
        except BaseException as error:  # noqa: BLE001  (joined by the caller, on its own thread)
            outcome.error = error


def _join(errors: list[BaseException | None], outcomes: list[_Outcome]) -> list[Any]:
    stops = [error for error in errors if error is not None and not isinstance(error, Exception | Park)]
    if stops:
        raise stops[0]
    parks = [error for error in errors if isinstance(error, Park)]
    if parks:
        raise min(parks, key=lambda park: park.due_at)
    for error in errors:
        if error is not None:
            raise error
    return [outcome.value for outcome in outcomes]


def _shared_pool() -> ThreadPoolExecutor:
    global _pool  # noqa: PLW0603
    with _pool_lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(runtime().ports.step_threads, thread_name_prefix="step")
        return _pool
