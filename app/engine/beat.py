"""The heartbeat of a worker: leases renewed, requests noticed, progress written."""

import functools
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from app.engine import advance, store_upkeep
from app.engine.after import topics
from app.engine.execution import Execution, Owned
from app.engine.runtime import logger, runtime
from app.engine.store import Claimed
from app.lib import rhythm
from app.lib.away import DATABASE_FAILED, bearing_with_database, going_on, one_by_one

TICK = 0.1  # seconds: progress is written at most ten times a second
LOOK_EVERY = 0.5  # a request or a lost lease is noticed within a second
ACTIVE_AFTER = 0.25  # a step that takes longer than this shows as running


class Beat:
    """Watches over the executions of this process."""

    def __init__(self, identity: Callable[[], dict[str, Any]] | None, active_after: float = ACTIVE_AFTER) -> None:
        """`identity` returns the row by which this process is known (None: by none)."""
        self._identity = identity
        self._active_after = active_after
        self._lock = threading.Lock()
        self._executions: dict[UUID, Owned] = {}

    def watch(self, execution: Owned) -> None:
        """Keep the lease of this run from now on, whether it is being advanced or still waits for a thread."""
        with self._lock:
            self._executions[execution.run.id] = execution

    def forget(self, run: Claimed) -> None:
        """Let go of a run that has parked or ended; not of its next claim, which another thread may watch by now."""
        with self._lock:
            watched = self._executions.get(run.id)
            if watched is not None and watched.run is run:
                del self._executions[run.id]

    def count(self) -> int:
        """Return how many runs this process is advancing."""
        with self._lock:
            return len(self._executions)

    def loop(self, stop: threading.Event) -> None:
        """Beat until `stop` is set and every run has been given back."""
        every = min(runtime().ports.lease_seconds / 6, 5.0)
        # Leases first: whatever goes wrong with one run's progress, no other loses its lease.
        things = ((every, self.renew), (LOOK_EVERY, self.look), (0.0, self.show))
        wall = functools.partial(going_on, logger, "beat.database_away", "beat.failed")
        rhythm.keep_doing(things, stop, tick=TICK, is_over=lambda: not self.count(), wall=wall)

    def renew(self) -> None:
        """Renew every lease, and say that this process is alive."""
        executions = self._all()
        leases = {run_id: execution.run.epoch for run_id, execution in executions.items()}
        seconds, now = runtime().ports.lease_seconds, time.monotonic()
        with runtime().pool.connection() as connection:
            renewed = store_upkeep.heartbeat(connection, leases, seconds) if leases else set()
            if self._identity is not None:
                store_upkeep.seen(connection, self._identity())
        for run_id in renewed:
            executions[run_id].lease.renewed_at = now

    def look(self) -> None:
        """Notice requests, and runs that belong to somebody else by now."""
        executions = self._all()
        if not executions:
            return
        with runtime().pool.connection() as connection:
            found = store_upkeep.look(connection, list(executions))
        for run_id, execution in executions.items():
            epoch, status, requested = found.get(run_id, (0, "", None))
            if epoch != execution.run.epoch or status != "running":
                execution.lease.is_lost = True  # also when it has just parked or ended, where it no longer matters
            else:
                execution.lease.requested = requested  # None as well: a request to pause may be withdrawn

    def show(self) -> None:
        """Write progress, meta, streams, logs and long-running steps where they have changed."""
        for run_id, execution in self._all().items():
            if isinstance(execution, Execution):  # else claimed, and waiting for a thread: it has nothing to say
                with one_by_one(logger, "beat.failed", run_id=str(run_id)):
                    self._show(execution)

    def _show(self, execution: Execution) -> None:
        execution.tell()
        progress, meta = execution.progress.take(), execution.meta.take()
        active = execution.active_json(self._active_after)
        if progress is None and meta is None and active == execution.shown:
            return
        shown, execution.shown = execution.shown, active  # at once: its next pass takes it over
        run = execution.run
        try:
            with runtime().pool.connection() as connection:
                values = {"progress": progress, "meta": meta, "active": active}
                done = store_upkeep.show(connection, run.id, run.epoch, values)
        except DATABASE_FAILED:  # what it can never hold is left out instead
            _put_back(execution, shown)
            raise
        if done:
            runtime().announce(topics(run.id, run.subject, run.owner_id))
        else:
            _put_back(execution, shown)

    def give_all_back(self) -> None:
        """Give back the leases of runs still inside a step: this process is about to end with them."""
        for execution in self._all().values():
            self.give_back(execution)

    def give_back(self, execution: Owned) -> None:
        """Give back the lease of one run."""
        execution.lease.is_lost = True  # its step makes no further call outside
        with bearing_with_database(logger, "beat.database_away"):  # then the lease runs out by itself
            advance.give_back(execution.run)

    def _all(self) -> dict[UUID, Owned]:
        with self._lock:
            return dict(self._executions)


def _put_back(execution: Execution, shown: str | None) -> None:
    execution.shown = shown
    execution.progress.put_back()
    execution.meta.put_back()
