"""The worker process: run threads fed by RQ hints and by PostgreSQL itself, heartbeats, a clean way out."""

import os
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from app.engine import advance, upkeep, waits
from app.engine.beat import Beat
from app.engine.errors import EngineError
from app.engine.execution import Owned, lease_of
from app.engine.queue import note_others, queue_name, why_failed
from app.engine.runtime import CONNECTIONS, WORKER_CONNECTIONS, logger, runtime
from app.engine.store import Claimed
from app.engine.upkeep import identity
from app.lib import hint_worker, signals, threads, timeouts
from app.lib.away import bearing_with_database, is_away
from app.lib.coalescing import Coalescer
from app.lib.fetching import SLICE_SECONDS, Fetching
from app.lib.ids import process_name
from app.lib.progress import Progress

POLL_SECONDS = 0.5
Advanced = tuple[str, str, str]  # workflow, run, what it came to


class RunFailed(Exception):
    """The hint's own run failed: the RQ job ends like it, so that the dashboard tells the truth."""


class Worker(Fetching[Owned, Advanced]):
    """The run threads of this process and what they are doing."""

    def __init__(self, name: str, kind: str = "worker") -> None:
        ports = runtime().ports
        self.name, self.kind = name, kind
        super().__init__(ports.run_threads if kind == "worker" else max(1, ports.isolated_processes), "run")
        self.beat = Beat(self._identity)

    def cut_off(self) -> None:
        """Give back the runs that are still inside a step: this process is about to end with them."""
        self.beat.give_all_back()

    def perform(self, run_id: UUID) -> str:
        """Do what a hint asks for: advance its run, then others that are due, for a bounded slice."""
        deadline = time.monotonic() + SLICE_SECONDS
        status = "elsewhere"
        if self.stop.is_set():
            return status
        with bearing_with_database(logger, "worker.database_away"):
            found = advance.claim_one(self.name, run_id)
            if found is not None:
                status = self._advance(*found)
            note_others(self.go_on(deadline))
        return status

    def fetch(self, limit: int) -> list[Owned]:
        """Claim due runs straight from PostgreSQL: also what a lost hint or a lost Redis would leave lying."""
        claimed = advance.claim_batch(self.name, limit)
        found = [Owned(run=run, lease=lease_of(run, at), progress=Progress(run.progress)) for run, at in claimed]
        for owned in found:
            self.beat.watch(owned)
        return found

    def do(self, piece: Owned) -> Advanced | None:
        """Advance a claimed run, unless it waited here while the database was away, and is another worker's by now."""
        run = piece.run
        if piece.lease.is_over:
            self.beat.forget(run)
            return None
        status = self._advance(run, piece.lease.renewed_at)
        if status == "failed":
            runtime().show_failed(run.workflow, str(run.id))
        return run.workflow, str(run.id), status

    def give_back(self, piece: Owned) -> None:
        """Let other workers claim the run at once."""
        self.beat.give_back(piece)
        self.beat.forget(piece.run)

    def failed(self, error: BaseException) -> None:
        """Say that work failed."""
        if is_away(error):
            logger.warning("worker.database_away", error=type(error).__name__)
        else:
            logger.error("worker.thread_failed", exc_info=error)

    def _identity(self) -> dict[str, Any]:
        return identity(self.name, self.kind, self.threads, self.threads - self.free() + timeouts.count())

    def _advance(self, run: Claimed, claimed_at: float) -> str:
        try:
            return self.timed(advance.advance, run, claimed_at, watch=self.beat.watch)
        finally:
            self.beat.forget(run)


_worker: Worker | None = None


def perform(run_id: str) -> str:
    """What an RQ job of the engine's queue calls."""
    if _worker is None:
        raise EngineError("Hints are performed by the engine's worker: python -m jobs.worker")
    status = _worker.perform(UUID(run_id))
    if status == "failed":
        raise RunFailed(why_failed(run_id))
    return status


def serve(worker: Worker, at_end: Callable[[], object] = lambda: None) -> int:
    """Run a worker in this process until SIGTERM or SIGINT, and call `at_end` last; returns the exit code."""
    global _worker  # noqa: PLW0603
    state = runtime()
    _worker = worker
    heard = signals.listen(worker.stop)
    publisher = Coalescer("publisher", state.ports.publish)
    matcher = Coalescer("matcher", waits.look_for_waits)
    state.announce, state.look_for_waits = publisher.add, matcher.add
    state.pool.grow(WORKER_CONNECTIONS - CONNECTIONS)
    beside = [
        threads.start("beat", worker.beat.loop, worker.stop),
        threads.start("upkeep", upkeep.loop, worker.name, worker.stop),
    ]
    if state.ports.redis_url:  # else it looks into PostgreSQL alone
        queue = queue_name(state.ports.namespace, worker.kind)
        beside.append(threads.start("rq", hint_worker.serve, worker, worker.name, state.ports.redis_url, queue, logger))
    logger.info("worker.started", worker=worker.name, kind=worker.kind, threads=worker.threads)
    while not worker.stop.wait(POLL_SECONDS):
        with bearing_with_database(logger, "worker.database_away"):
            worker.poll()
    _drain(worker, beside)
    matcher.close()
    at_end()
    publisher.close()
    logger.info("worker.stopped", worker=worker.name, by="".join(heard[:1]), cut_off=worker.beat.count())
    if not worker.is_idle():
        os._exit(0)  # Python would wait for the threads of steps that are still busy, and their runs are given back
    return 0


def run_upkeep() -> int:
    """Run the engine's timekeeping in this process until SIGTERM or SIGINT; returns the exit code."""
    name = process_name("upkeep")
    stop = threading.Event()
    signals.listen(stop)

    threads.start("beat", Beat(lambda: identity(name, "upkeep", 1)).loop, stop)
    upkeep.loop(name, stop)
    return 0


def _drain(worker: Worker, beside: list[threading.Thread]) -> None:
    """Let each run come to its next step and give its lease back."""
    state = runtime()
    state.is_draining = True
    worker.shut()
    worker.is_idle(state.ports.drain_seconds)
    worker.cut_off()
    for thread in beside:
        thread.join(0.5)
