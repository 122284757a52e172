"""One worker advancing one run: what it has read, what it has learnt, and what the body sees as `ctx`."""

from __future__ import annotations

import json
import random
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from app.engine import current, logs, store, streams
from app.engine.after import topics
from app.engine.current import Lease
from app.engine.errors import Cancelled, EngineError, GiveBack, LostLease, Paused
from app.engine.meta import Meta
from app.engine.registry import Workflow
from app.engine.runtime import runtime
from app.engine.store import Claimed, Loaded
from app.engine.store_events import Event
from app.engine.streams import Stream
from app.lib import timeouts
from app.lib.keys import digest
from app.lib.once import Once
from app.lib.progress import Progress


@dataclass(kw_only=True)
class Owned:
    """A run that this process has claimed, and keeps the lease of."""

    run: Claimed
    lease: Lease
    progress: Progress
    active: dict[str, float] = field(default_factory=dict)  # step key -> monotonic start, for the run page

    def now(self) -> datetime:
        """Return the database's time, as far as this process can tell without asking."""
        return self.at(time.monotonic())

    def at(self, monotonic: float) -> datetime:
        """Return the database's time when time.monotonic() was `monotonic`."""
        return self.run.claimed_at + timedelta(seconds=monotonic - self.run.read_at)

    def active_json(self, after: float) -> str | None:
        """Return the steps that have been executing for `after` seconds, as the run page shows them."""
        now = time.monotonic()
        running = {key: self.at(start).isoformat() for key, start in dict(self.active).items() if now - start >= after}
        return json.dumps(running) if running else None


@dataclass(kw_only=True)
class Execution(Owned):
    """A claimed run that this process is advancing."""

    workflow: Workflow
    loaded: Loaded
    lock: threading.Lock = field(default_factory=threading.Lock)
    size_bytes: int = 0
    once: Once = field(default_factory=Once)  # what is read once in each pass, for all branches: news makes another one
    shown: str | None = None  # of the steps that have been executing for a while, as its row has them

    def __post_init__(self) -> None:
        """Prepare what every step needs."""
        self.run_id = str(self.run.id)
        self.unmet = set(self.loaded.memos)  # what this pass over the body has not come to yet
        self.step_topics = topics(self.run.id, self.run.subject, None)  # a list of runs shows no steps
        self.meta, self.streams, self.logs = Meta(self.run), streams.spool(self.run), logs.spool(self.run)

    def stream(self, name: str) -> Stream:
        """Return the stream of this try of a step; see `Context.stream`."""
        attempt = current.attempt()
        if attempt is None:
            raise EngineError(f"Call ctx.stream({name!r}) inside a step: only there a text is written once.")
        return Stream(self.streams, attempt, name)

    def tell(self) -> None:
        """Write what people are to read of it by now: its streams and its log."""
        self.streams.flush()
        self.logs.flush()

    def check_lease(self) -> None:
        """Stop here if another worker may own the run.

        Raises:
            LostLease: it may.
        """
        if self.lease.is_over:
            self.lease.is_lost = True
            raise LostLease(self.run.id)

    def check(self) -> None:
        """Stop at this step boundary if the run must not go on here.

        Raises:
            LostLease: another worker may own the run.
            Cancelled, Paused: somebody asked for it.
            GiveBack: this process is shutting down, or this one of an isolated run is better left.
        """
        self.check_lease()
        if self.lease.requested is not None:
            raise (Cancelled if self.lease.requested == "cancel" else Paused)(self.run.id)
        state = runtime()
        if state.is_draining or (state.is_disposable and timeouts.count()):  # nothing abandoned outlives its process
            raise GiveBack(self.run.id)


class Context:
    """What a workflow's body knows about its run."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self.log = logs.logger_of(execution)

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
        return current.here().number

    @property
    def key(self) -> str:
        """The idempotency key of the current step, the same on every try; pass it to paid services.

        Raises:
            EngineError: in a thread of the step's own, which was not started in a copy of its context.
        """
        return idempotency_key(self.run_id, current.key())

    @property
    def is_cancelled(self) -> bool:
        """Tell whether somebody asked for the run to be cancelled, or this try has timed out: a step may stop early."""
        return self.execution.lease.requested == "cancel" or timeouts.is_abandoned()

    @property
    def meta(self) -> Meta:
        """What the run says of itself to people: `set`, `increment` and `append` count exactly once."""
        return self.execution.meta

    def stream(self, name: str) -> Stream:
        """Return the stream `name`, to which this try of the step writes text that people read at once.

        A further try begins it anew, as does another step that writes to the same name.

        Raises:
            EngineError: outside of steps, where each replay would write it again.
        """
        return self.execution.stream(name)

    def now(self) -> datetime:
        """Return the time as an aware UTC datetime, remembered as a step: the same on every replay."""
        return datetime.fromisoformat(current.body().remembered("now", "now", lambda: self.execution.now().isoformat()))

    def random(self) -> float:
        """Return a random number from [0, 1), remembered as a step: the same on every replay."""
        return float(current.body().remembered("random", "random", random.random))

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


def idempotency_key(run_id: UUID, step_key: str) -> str:
    """Return the key under which outside services recognise a repeated call (at most 200 ASCII characters)."""
    readable = f"{run_id}/{step_key}"
    return readable if readable.isascii() and len(readable) <= 200 else f"{run_id}/{digest(step_key)}"  # noqa: PLR2004


def backoff(workflow: Workflow, failures: int) -> float:
    """Return the seconds to wait after the n-th failure (1, 2, ...), give or take a fifth."""
    pause = workflow.backoff[min(failures, len(workflow.backoff)) - 1]
    return pause * random.uniform(0.8, 1.2)  # noqa: S311  (spreads load; guards nothing)


def load(run: Claimed, workflow: Workflow, *, claimed_at: float, before: Execution | None = None) -> Execution:
    """Read what the run remembers; `claimed_at` is time.monotonic() from before the claim.

    `before` is the pass before this one, when the run goes round again.
    """
    with runtime().pool.connection() as connection:
        loaded = store.load(connection, run)
    return Execution(
        run=run,
        lease=lease_of(run, claimed_at),
        progress=before.progress if before else Progress(run.progress),
        shown=before.shown if before else None,
        workflow=workflow,
        loaded=loaded,
        size_bytes=sum(memo.size_bytes for memo in loaded.memos.values()),
    )


def lease_of(run: Claimed, claimed_at: float) -> Lease:
    """Return the lease with which `run` was claimed; `claimed_at` as in `load`."""
    return Lease(runtime().ports.lease_seconds, claimed_at, requested=run.requested)
