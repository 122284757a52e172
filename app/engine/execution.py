"""One worker advancing one run: what it has read, what it has learnt, and what the body sees as `ctx`."""

from __future__ import annotations

import json
import random
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from app.engine import current, store
from app.engine.current import Lease
from app.engine.errors import Cancelled, EngineError, GiveBack, LostLease
from app.engine.progress import Progress
from app.engine.registry import Workflow, digest
from app.engine.runtime import logger, runtime
from app.engine.store import Claimed, Loaded
from app.engine.store_events import Event
from app.lib import timeouts

if TYPE_CHECKING:
    from app.engine.steps import Step


@dataclass
class Execution:
    """A claimed run in this process."""

    run: Claimed
    workflow: Workflow
    loaded: Loaded
    lease: Lease
    progress: Progress
    claimed_at_monotonic: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)
    active: dict[str, float] = field(default_factory=dict)  # step key -> monotonic start, for the run page
    size_bytes: int = 0

    def now(self) -> datetime:
        """Return the database's time, as far as this process can tell without asking."""
        return self.run.claimed_at + timedelta(seconds=time.monotonic() - self.claimed_at_monotonic)

    def check(self) -> None:
        """Stop at this step boundary if the run must not go on here.

        Raises:
            LostLease: another worker may own the run.
            Cancelled: somebody asked for it.
            GiveBack: this process is shutting down, or this one of an isolated run is better left.
        """
        if self.lease.is_over:
            self.lease.is_lost = True
            raise LostLease(self.run.id)
        if self.lease.is_cancel_requested:
            raise Cancelled(self.run.id)
        state = runtime()
        if state.is_draining or (state.is_disposable and timeouts.count()):  # nothing abandoned outlives its process
            raise GiveBack(self.run.id)

    def active_json(self, after: float) -> str | None:
        """Return the steps that have been executing for `after` seconds, as the run page shows them."""
        now = time.monotonic()
        running = {
            key: (self.run.claimed_at + timedelta(seconds=start - self.claimed_at_monotonic)).isoformat()
            for key, start in dict(self.active).items()
            if now - start >= after
        }
        return json.dumps(running) if running else None


class Context:
    """What a workflow's body knows about its run."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self.log = logger.bind(run_id=str(execution.run.id), workflow=execution.workflow.name)

    @property
    def event(self) -> Event:
        """The event that started the run."""
        return self.execution.loaded.event

    @property
    def run_id(self) -> UUID:
        """The run's id."""
        return self.execution.run.id

    @property
    def attempt(self) -> int:
        """The number of the current try (1, 2, ...): of the step, or of the body outside any step."""
        attempt = current.attempt()
        return self.execution.run.attempt + 1 if attempt is None else attempt.number

    @property
    def key(self) -> str:
        """The idempotency key of the current step, the same on every try; pass it to paid services."""
        attempt = current.attempt()
        return idempotency_key(self.run_id, attempt.key if attempt else "")

    @property
    def is_cancelled(self) -> bool:
        """Tell whether somebody asked for the run to be cancelled, or this try has timed out: a step may stop early."""
        return self.execution.lease.is_cancel_requested or timeouts.is_abandoned()

    def now(self) -> datetime:
        """Return the time as an aware UTC datetime, remembered as a step: the same on every replay."""
        return datetime.fromisoformat(_scope().remembered("now", "now", lambda: self.execution.now().isoformat()))

    def random(self) -> float:
        """Return a random number from [0, 1), remembered as a step: the same on every replay."""
        return float(_scope().remembered("random", "random", random.random))

    def progress(
        self,
        *,
        current_step: str | None = None,
        done: float | None = None,
        total: float | None = None,
        message: str | None = None,
    ) -> None:
        """Say how far the run is; cheap, written at most ten times a second. Stops a try that has timed out."""
        timeouts.refuse()
        self.execution.progress.say(current_step=current_step, done=done, total=total, message=message)


def _scope() -> Step:
    step = current.scope()
    if step is None:
        raise EngineError("ctx.now() and ctx.random() work only in a workflow's body.")
    return step


def idempotency_key(run_id: UUID, step_key: str) -> str:
    """Return the key under which outside services recognise a repeated call (at most 200 ASCII characters)."""
    readable = f"{run_id}/{step_key}"
    return readable if readable.isascii() and len(readable) <= 200 else f"{run_id}/{digest(step_key)}"  # noqa: PLR2004


def backoff(workflow: Workflow, failures: int) -> float:
    """Return the seconds to wait after the n-th failure (1, 2, ...), give or take a fifth."""
    pause = workflow.backoff[min(failures, len(workflow.backoff)) - 1]
    return pause * random.uniform(0.8, 1.2)  # noqa: S311  (spreads load; guards nothing)


def load(run: Claimed, workflow: Workflow, *, claimed_at: float, progress: Progress | None = None) -> Execution:
    """Read what the run remembers; `claimed_at` is time.monotonic() from before the claim.

    `progress` is that of the pass before, when the run goes round again.
    """
    state = runtime()
    with state.pool.connection() as connection:
        loaded = store.load(connection, run)
    lease = Lease(run.id, run.epoch, state.ports.lease_seconds, claimed_at)
    lease.is_cancel_requested = run.requested is not None
    size = sum(memo.size_bytes for memo in loaded.memos.values())
    return Execution(run, workflow, loaded, lease, progress or Progress(run.progress), size_bytes=size)
