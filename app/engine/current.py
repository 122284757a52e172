"""What this thread is executing: the run, and inside a step the attempt."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.engine.errors import EngineError
from app.lib import timeouts
from app.lib.changes import Change
from app.lib.said import Said

if TYPE_CHECKING:
    from app.engine.execution import Execution
    from app.engine.steps import Step


STRAY = "This thread does not know its step: start it with contextvars.copy_context().run(function, ...)."


@dataclass
class Lease:
    """The right of this process to advance a run, as far as it knows."""

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


executed: set[int] = set()  # the executions of all threads, by their `id`

# What this thread executes; the body or branch that it is in; the try of the step that it is in. Each may be None.
execution, scope, attempt = _execution.get, _scope.get, _attempt.get


@contextlib.contextmanager
def executing(execution: Execution) -> Iterator[None]:
    """Say what this thread executes, for a `with` block."""
    executed.add(id(execution))
    try:
        with Said(_execution, execution):
            yield
    finally:
        executed.discard(id(execution))


def within(step: Step) -> Said[Step]:
    """Say in which body or branch this thread is, for a `with` block."""
    return Said(_scope, step)


def trying(attempt: Attempt | None) -> Said[Attempt | None]:
    """Say which step this thread is in, if any, for a `with` block."""
    return Said(_attempt, attempt)


def key() -> str:
    """Return the key of the step that this thread is in, or an empty text in the body; raises like `body`."""
    return here().key


def place() -> tuple[float, ...]:
    """Return where in the body this thread is, after which verb; raises like `body`."""
    return body().place


def here() -> Attempt | Step:
    """Return the try of a step that this thread is in, or else its body or branch; raises like `body`."""
    return _attempt.get() or body()


def body() -> Step:
    """Return the steps of the body or branch that this thread is in.

    Raises:
        EngineError: it is a thread of the workflow's own, and the engine cannot tell of which step.
    """
    step = _scope.get()
    if step is None:
        raise EngineError(STRAY)
    return step


def refuse_under_lost_lease() -> None:
    """Stop this thread when its run may belong to another worker: the guard of outside calls.

    Raises:
        LostLease: another worker may be doing the same call.
        Abandoned: this try has timed out.
    """
    timeouts.refuse()
    running = execution()
    if running is not None:
        running.check_lease()
