"""Isolated runs: each claim of one is advanced in a process of its own, which can be killed.

Three kinds of processes, each of which dies with the one before it: the worker of isolated runs, which claims them,
keeps time and has threads; its zygote, which has the app loaded and forks; and a child for each claim, which keeps its
own lease. `run_worker` starts the first beside itself when there are isolated workflows.
"""

import contextlib
import functools
import json
import signal
import threading

from app.engine import advance, process, store_upkeep
from app.engine.beat import Beat
from app.engine.endings import Ending
from app.engine.options import Isolated
from app.engine.process import Worker
from app.engine.registry import registry
from app.engine.runtime import CONNECTIONS, WORKER_CONNECTIONS, logger, runtime
from app.engine.store import Claimed
from app.lib import threads
from app.lib.away import DATABASE_FAILED
from app.lib.coalescing import Coalescer
from app.lib.companion import Companion
from app.lib.ids import process_name
from app.lib.zygote import Zygote, how_ended

GRACE_SECONDS = 10.0  # for the step of a cancelled run to end by itself
KILLED_SECONDS = 5.0  # for the runs of killed children to be given back
FIRST_CODE = 170  # exit codes of children, from here on: what became of their run (of sysexits.h and signals none)
STATUSES = ("completed", "failed", "cancelled", "waiting", "paused", "queued", "lost")

# The try of each step that was executing, as far as was seen, is a failed one; the next comes after the backoff.
RECORD_KILLED = """
INSERT INTO step_attempt (run_id, key, number, is_deferral, error, started_at, finished_at, retry_at)
SELECT run.id, step.key, past.number + 1, false, %(error)s::json, step.value::timestamptz, engine_now(),
       engine_now() + pauses.list[least(past.number + 1, cardinality(pauses.list))] * interval '1 second'
FROM run, json_each_text(run.active) AS step, (SELECT %(pauses)s::float[] AS list) AS pauses,
     LATERAL (SELECT count(*) AS number FROM step_attempt WHERE run_id = run.id AND key = step.key) AS past
WHERE run.id = %(run_id)s AND run.epoch = %(epoch)s AND run.status = 'running' ON CONFLICT DO NOTHING
"""


class IsolatedWorker(Worker):
    """Advances each run in a child of its zygote; its threads only watch over them."""

    def __init__(self) -> None:
        self.zygote = Zygote(_advance_here, _get_ready)  # first of all: it is forked while this process has one thread
        super().__init__(process_name(), "isolated")
        self._is_cut_off = False

    def _advance(self, run: Claimed, claimed_at: float) -> str:
        if not self.zygote.is_alive():
            logger.error("worker.zygote_lost", worker=self.name)
            self.stop.set()
        if self.stop.is_set():
            advance.give_back(run)
            return "queued"
        limits = registry.by_name[run.workflow].process or Isolated()
        self.beat.forget(run)  # from here on its child keeps the lease
        child = self.zygote.fork((run, claimed_at), memory_bytes=limits.memory_bytes, cpu_seconds=limits.cpu_seconds)
        is_killed = child.see_out(self.stop, functools.partial(_is_overdue, run), grace=GRACE_SECONDS)
        code = child.wait() or 0
        if is_killed:
            logger.warning("run.killed", run_id=str(run.id), workflow=run.workflow)
            return advance.end(run, Ending("cancelled")) or "lost"
        if self._is_cut_off and code == -signal.SIGKILL:
            advance.give_back(run)
            return "queued"
        status = STATUSES[code - FIRST_CODE] if code - FIRST_CODE in range(len(STATUSES)) else None
        found = None if status in (None, "lost") else _look(run)
        if status and not (found and found[0]):  # else a step has ended its process, with a code like that
            return status
        self._let_go(run, how_ended(code))
        return "lost"

    def cut_off(self) -> None:
        """Kill the children that have not come to their next step in time; their runs are given back."""
        self._is_cut_off = True
        self.zygote.kill_children()
        self.is_idle(KILLED_SECONDS)

    def _let_go(self, run: Claimed, what: str) -> None:
        """Keep what was seen of a child that was lost, and let its lease run out now."""
        logger.warning("run.process_lost", run_id=str(run.id), workflow=run.workflow, how=what)
        error = {"class": "ProcessLost", "code": "process_lost", "message": what}
        pauses = list(registry.by_name[run.workflow].backoff)
        values = {"run_id": run.id, "epoch": run.epoch, "error": json.dumps(error), "pauses": pauses}
        with runtime().pool.connection() as connection, connection.transaction():
            connection.execute("SELECT FROM run WHERE id = %s FOR UPDATE", [run.id])  # the dead child's commit is over
            connection.execute(RECORD_KILLED, values)
            store_upkeep.heartbeat(connection, {run.id: run.epoch}, 0.0)


def _look(run: Claimed) -> tuple[bool, str | None] | None:
    """Return whether this run is still its child's, and what is asked of it; None: the database is away."""
    try:
        with runtime().pool.connection() as connection:
            epoch, status, requested = store_upkeep.look(connection, [run.id]).get(run.id, (0, "", None))
    except DATABASE_FAILED:
        return None
    return (epoch, status) == (run.epoch, "running"), requested


def _is_overdue(run: Claimed) -> bool | None:
    """Tell whether the child of this run has nothing to do any more; None: the database is away."""
    found = _look(run)
    return None if found is None else not found[0] or found[1] == "cancel"


def run_worker() -> int:
    """Run a worker in this process until SIGTERM or SIGINT; returns the exit code.

    With isolated workflows and `isolated_processes`, their worker runs beside it as a process of its own; when that one
    is lost this one stops, so that whoever started it starts both anew.
    """
    state = runtime()
    beside = Companion(run_isolated) if state.ports.isolated_processes and registry.names(isolated=True) else None
    state.isolated = False
    worker = Worker(process_name())
    if beside is None:
        return process.serve(worker)
    beside.follow(worker.stop, on_lost=lambda: logger.error("worker.isolated_lost", worker=worker.name))
    return process.serve(worker, at_end=lambda: beside.join(state.ports.drain_seconds + KILLED_SECONDS))


def run_isolated() -> int:
    """Run a worker of isolated workflows in this process until SIGTERM or SIGINT; returns the exit code."""
    state = runtime()
    state.forked()
    state.isolated = True
    worker = IsolatedWorker()
    worker.zygote.start()
    return process.serve(worker, at_end=worker.zygote.close)


def _get_ready() -> None:
    """What a child does before there is a run for it."""
    state = runtime()
    state.forked()
    state.is_disposable = True
    state.pool.grow(WORKER_CONNECTIONS - CONNECTIONS)
    _connect()


def _connect() -> None:
    """Have a connection that works: of one that broke while the child was waiting, its run must not suffer."""
    with contextlib.suppress(*DATABASE_FAILED), runtime().pool.connection() as connection:
        connection.execute("SELECT")


def _advance_here(order: tuple[Claimed, float]) -> int:
    """What a child does: advance one claimed run, with a heartbeat of its own, and say by its exit code how it went."""
    run, claimed_at = order
    state = runtime()

    def drain(_number: int, _frame: object) -> None:
        state.is_draining = True

    signal.signal(signal.SIGTERM, drain)
    _connect()
    beat, publisher = Beat(None, active_after=0.0), Coalescer("publisher", state.ports.publish)
    state.announce = publisher.add
    threads.start("beat", beat.loop, threading.Event())
    status = advance.advance(run, claimed_at, watch=beat.watch)
    publisher.close()
    return FIRST_CODE + STATUSES.index(status)
