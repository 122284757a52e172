"""The worker process: run threads fed by RQ hints and by PostgreSQL itself, heartbeats, a clean way out."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections import deque
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
from app.lib.away import DATABASE_IS_AWAY, bearing_with_database
from app.lib.coalescing import Coalescer
from app.lib.progress import Progress
from app.lib.slots import Slots

SLICE_SECONDS = 5.0  # how long one hint goes on with other runs before RQ gets its thread back
BATCH = 10
SHORT_SECONDS = 0.1  # more than one is claimed at once only while runs take no longer than this
PATIENCE_SECONDS = 0.5  # for which a claimed run waits for a thread, before other workers may have it
POLL_SECONDS = 0.5
NOTED = 20  # of the other runs of a slice, on the dashboard
Advanced = tuple[str, str, str]  # workflow, run, what it came to


class RunFailed(Exception):
    """The hint's own run failed: the RQ job ends like it, so that the dashboard tells the truth."""


class Worker(Slots):
    """The run threads of this process and what they are doing."""

    def __init__(self, name: str, kind: str = "worker") -> None:
        ports = runtime().ports
        self.name, self.kind = name, kind
        threads = ports.run_threads if kind == "worker" else max(1, ports.isolated_processes)
        super().__init__(threads, threading.Event(), "run")
        self.beat = Beat(self._identity)
        self._claiming, self._popping = threading.Lock(), threading.Lock()
        self._ready: deque[Owned] = deque()  # claimed, and to be taken by whichever thread comes first
        self._usual_seconds = 1.0  # that runs have taken lately

    def cut_off(self) -> None:
        """Give back the runs that are still inside a step: this process is about to end with them."""
        self.beat.give_all_back()

    def shut(self) -> None:
        """Take no more work; what has been submitted begins all the same: a claimed run must be given back."""
        super().shut()
        self.give_back_waiting()

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
            note_others(self._go_on(deadline))
        return status

    def poll(self) -> None:
        """Claim due runs straight from PostgreSQL: what a lost hint or a lost Redis would leave lying."""
        self.give_back_waiting(PATIENCE_SECONDS)
        free = self.free()
        if free == 0 or self.stop.is_set() or not self._claiming.acquire(blocking=False):
            return
        try:
            self._lay_ready(advance.claim_batch(self.name, min(free, BATCH)))
        finally:
            self._claiming.release()
        if not self._wake_free_threads():
            self.give_back_waiting()  # a hint was quicker, or we are leaving; this thread must hear of signals

    def give_back_waiting(self, after: float = 0.0) -> None:
        """Give back the claimed runs that no thread has taken in `after` seconds: other workers may be idle."""
        while (waiting := self._pop(after)) is not None:
            self.beat.give_back(waiting)
            self.beat.forget(waiting.run)

    def failed(self, error: BaseException) -> None:
        """Say that work failed."""
        if isinstance(error, DATABASE_IS_AWAY):
            logger.warning("worker.database_away", error=type(error).__name__)
        else:
            logger.error("worker.thread_failed", exc_info=error)

    def freed(self) -> None:
        """Let the thread that has become free take what lies ready."""
        self._wake_free_threads()

    def _identity(self) -> dict[str, Any]:
        return identity(self.name, self.kind, self.threads, self.threads - self.free() + timeouts.count())

    def _advance(self, run: Claimed, claimed_at: float) -> str:
        began = time.monotonic()
        try:
            return advance.advance(run, claimed_at, watch=self.beat.watch)
        finally:
            self._usual_seconds += (time.monotonic() - began - self._usual_seconds) / 8
            self.beat.forget(run)

    def _advance_without_job(self, run: Claimed, claimed_at: float) -> Advanced:
        status = self._advance(run, claimed_at)
        if status == "failed":
            runtime().show_failed(run.workflow, str(run.id))
        return run.workflow, str(run.id), status

    def _go_on(self, deadline: float | None = None) -> list[Advanced]:
        """Advance what else is due; returns the last few of it."""
        advanced: deque[Advanced] = deque(maxlen=NOTED)
        deadline = deadline or time.monotonic() + SLICE_SECONDS
        while time.monotonic() < deadline and not self.stop.is_set():
            owned = self._take()
            if owned is None:
                break
            if owned.lease.is_over:  # it waited here while the database was away, and is another worker's by now
                self.beat.forget(owned.run)
            else:
                advanced.append(self._advance_without_job(owned.run, owned.lease.renewed_at))
        return list(advanced)

    def _take(self) -> Owned | None:
        """Return a run that lies ready, else the first of a new batch, whose others are for all threads."""
        with self._claiming:
            owned = self._pop()
            if owned is not None:
                return owned
            limit = BATCH if self._usual_seconds <= SHORT_SECONDS else 1
            self._lay_ready(advance.claim_batch(self.name, limit))
            if self.stop.is_set():
                self.give_back_waiting()  # nobody comes for it any more
            owned = self._pop()
        self._wake_free_threads()
        return owned

    def _pop(self, after: float = 0.0) -> Owned | None:
        with self._popping:
            is_due = self._ready and time.monotonic() - self._ready[0].run.read_at >= after
            return self._ready.popleft() if is_due else None

    def _lay_ready(self, claimed: list[tuple[Claimed, float]]) -> None:
        for run, claimed_at in claimed:
            owned = Owned(run=run, lease=lease_of(run, claimed_at), progress=Progress(run.progress))
            self.beat.watch(owned)
            self._ready.append(owned)

    def _wake_free_threads(self) -> bool:
        """Let free threads take what lies ready, so that it waits for no long step; false if there are too few."""
        return all(self.submit(self._go_on) is not None for _ in range(len(self._ready)))


_worker: Worker | None = None


def perform(run_id: str) -> str:
    """What an RQ job of the engine's queue calls."""
    if _worker is None:
        raise EngineError("Hints are performed by the engine's worker: python -m jobs.worker")
    status = _worker.perform(UUID(run_id))
    if status == "failed":
        raise RunFailed(why_failed(run_id))
    return status


def new_name() -> str:
    """Return a name for a worker of this process."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"


def serve(worker: Worker, at_end: Callable[[], object] = lambda: None) -> int:
    """Run a worker in this process until SIGTERM or SIGINT, and call `at_end` last; returns the exit code."""
    global _worker  # noqa: PLW0603
    state = runtime()
    _worker = worker
    heard = signals.listen(worker.stop)
    publisher, matcher = Coalescer(state.ports.publish), Coalescer(waits.look_for_waits)
    state.announce, state.look_for_waits = publisher.add, matcher.add
    state.pool.grow(WORKER_CONNECTIONS - CONNECTIONS)
    for thing, each in (("publisher", publisher), ("matcher", matcher)):
        threads.start(thing, each.loop)
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
    name = f"{socket.gethostname()}-{os.getpid()}-upkeep"
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
