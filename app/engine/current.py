"""What this thread is executing: the run, and inside a step the attempt."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from app.engine.errors import LostLease
from app.lib import timeouts

if TYPE_CHECKING:
    from app.engine.execution import Execution
    from app.engine.steps import Step


@dataclass
class Lease:
    """The right of this process to advance a run, as far as it knows."""

    run_id: UUID
    epoch: int
    seconds: float
    renewed_at: float  # time.monotonic() before the statement that renewed it
    is_lost: bool = False
    is_cancel_requested: bool = False

    @property
    def is_over(self) -> bool:
        """Tell whether the run may belong to another worker by now (a frozen process wakes up here)."""
        return self.is_lost or time.monotonic() - self.renewed_at > self.seconds


@dataclass(frozen=True)
class Attempt:
    """One try of one step."""

    key: str
    number: int
    is_transaction: bool


_execution: ContextVar[Execution | None] = ContextVar("engine_execution", default=None)
_scope: ContextVar[Step | None] = ContextVar("engine_scope", default=None)
_attempt: ContextVar[Attempt | None] = ContextVar("engine_attempt", default=None)


def execution() -> Execution | None:
    """Return what this thread executes, or None outside of workflows."""
    return _execution.get()


def scope() -> Step | None:
    """Return the `step` of the body or branch that this thread is in, or None."""
    return _scope.get()


def attempt() -> Attempt | None:
    """Return the try of the step that this thread is in, or None."""
    return _attempt.get()


@contextlib.contextmanager
def executing(execution: Execution) -> Iterator[None]:
    """Say what this thread executes."""
    token = _execution.set(execution)
    try:
        yield
    finally:
        _execution.reset(token)


@contextlib.contextmanager
def within(step: Step) -> Iterator[None]:
    """Say in which body or branch this thread is."""
    token = _scope.set(step)
    try:
        yield
    finally:
        _scope.reset(token)


@contextlib.contextmanager
def trying(attempt: Attempt) -> Iterator[None]:
    """Say which step this thread is in."""
    token = _attempt.set(attempt)
    try:
        yield
    finally:
        _attempt.reset(token)


def refuse_under_lost_lease() -> None:
    """Stop this thread when its run may belong to another worker: the guard of outside calls.

    Raises:
        LostLease: another worker may be doing the same call.
        Abandoned: this try has timed out.
    """
    timeouts.refuse()
    running = _execution.get()
    if running is not None and running.lease.is_over:
        running.lease.is_lost = True
        raise LostLease(running.lease.run_id)
