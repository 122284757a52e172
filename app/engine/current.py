"""What this thread is executing: the run, and inside a step the attempt."""

from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from app.engine.errors import LostLease
from app.lib import timeouts
from app.lib.changes import Change
from app.lib.said import Said

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
    requested: str | None = None  # cancel | pause

    @property
    def is_over(self) -> bool:
        """Tell whether the run may belong to another worker by now (a frozen process wakes up here).

        Where the monotonic clock stands still while a machine is suspended, as on Linux, that time is not seen.
        """
        return self.is_lost or time.monotonic() - self.renewed_at > self.seconds


@dataclass(frozen=True, eq=False)
class Attempt:
    """One try of one step."""

    key: str
    number: int
    is_transaction: bool
    meta: dict[str, Change] = field(default_factory=dict)  # what it did to ctx.meta: counts if it succeeds
    written: dict[str, int] = field(default_factory=dict)  # stream -> bytes


_execution: ContextVar[Execution | None] = ContextVar("engine_execution", default=None)
_scope: ContextVar[Step | None] = ContextVar("engine_scope", default=None)
_attempt: ContextVar[Attempt | None] = ContextVar("engine_attempt", default=None)


def execution() -> Execution | None:
    """Return what this thread executes, or None outside of workflows."""
    return _execution.get()


def key() -> str:
    """Return the key of the step that this thread is in, or an empty text."""
    attempt = _attempt.get()
    return attempt.key if attempt else ""


def scope() -> Step | None:
    """Return the `step` of the body or branch that this thread is in, or None."""
    return _scope.get()


def place() -> tuple[float, ...]:
    """Return where in the body this thread is, after which verb; nothing in a thread of the workflow's own."""
    step = _scope.get()
    return () if step is None else step.place


def attempt() -> Attempt | None:
    """Return the try of the step that this thread is in, or None."""
    return _attempt.get()


def executing(execution: Execution) -> Said[Execution]:
    """Say what this thread executes, for a `with` block."""
    return Said(_execution, execution)


def within(step: Step) -> Said[Step]:
    """Say in which body or branch this thread is, for a `with` block."""
    return Said(_scope, step)


def trying(attempt: Attempt) -> Said[Attempt]:
    """Say which step this thread is in, for a `with` block."""
    return Said(_attempt, attempt)


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
