"""Timekeeping: due runs, expired leases, deadlines, schedules, runs set aside, what is to be forgotten.

There is no leader: a frozen leader would stop every clock. Any process may run a pass at any time; passes skip
what another one has locked.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg

from app.engine import endings, retention, schedules, sending, store, store_admission, store_upkeep, waits
from app.engine.endings import Ended, Ending
from app.engine.registry import registry
from app.engine.runtime import DATABASE_IS_AWAY, Connection, logger, runtime
from app.engine.store_upkeep import Expired, Late

BATCH = 500
HOLDS = 10  # batches of runs of paused workflows that one pass sets aside
MAX_RECOVERIES = 5
LONGEST_SLEEP = 1.0  # seconds
AGAIN_AFTER = 0.1  # seconds: what is due after a pass was locked by somebody else, or has just become so


def run_pass() -> int:
    """Do everything that is due now; returns how many runs were moved."""
    state = runtime()
    moved = 0
    hints: list[tuple[str, str]] = []
    with state.pool.connection() as connection:
        while True:
            woken = store_upkeep.wake_due(connection, BATCH)
            hints += woken
            if len(woken) < BATCH:
                break
        for lost in store_upkeep.expired(connection, BATCH):
            moved += 1
            hints += _or_say(lost.id, _rescue, connection, lost)
        for statement in (store_upkeep.OVERDUE, store_upkeep.ORPHANED):
            for late in store_upkeep.late(connection, statement, BATCH):
                hints += _or_say(late.id, _cancel, connection, statement, late)
        sending.tell(schedules.tick(connection))
        for _ in range(HOLDS):
            if store_admission.hold_paused(connection) < store_admission.BATCH:
                break
        hints += _repair_held(connection)
        waits.look_for_forgotten(connection)
        connection.execute(store_upkeep.FORGET, [BATCH])
        connection.execute(store_upkeep.FORGET_WORKERS)
        retention.sweep(connection)
    if hints:
        state.hint(hints)
        state.announce({f"run:{run_id}" for _, run_id in hints})
    return moved + len(hints)


def seconds_to_next() -> float:
    """Return how long upkeep may sleep: at most a second, less when something is due before."""
    with runtime().pool.connection() as connection:
        due = store_upkeep.seconds_to_next(connection)
    if due is None:
        return LONGEST_SLEEP
    return min(LONGEST_SLEEP, max(due, 0.01)) if due > 0 else AGAIN_AFTER


def loop(name: str, stop: threading.Event) -> None:
    """Run passes until `stop` is set. A database that is away is tried again every second."""
    while not stop.is_set():
        pause = LONGEST_SLEEP
        try:
            run_pass()
            with runtime().pool.connection() as connection:
                store_upkeep.upkeep_done(connection, name)
            pause = seconds_to_next()
        except DATABASE_IS_AWAY as error:
            logger.warning("upkeep.database_away", error=type(error).__name__)
        except Exception:  # noqa: BLE001  the clock must not stop for one bad row
            logger.exception("upkeep.failed")
        stop.wait(pause)


def identity(name: str, kind: str, threads: int, busy: int = 0) -> dict[str, Any]:
    """Return the row by which this process is known."""
    host = socket.gethostname()
    found = {"name": name, "kind": kind, "host": host, "pid": os.getpid(), "threads": threads, "busy": busy}
    return {**found, "workflows": [] if kind == "upkeep" else registry.names()}


def _or_say(run_id: UUID, what: Callable[..., list[tuple[str, str]]], *args: Any) -> list[tuple[str, str]]:
    try:
        return what(*args)
    except DATABASE_IS_AWAY:
        raise
    except Exception:  # noqa: BLE001  one run that cannot be looked after must not keep those behind it from it
        logger.exception("upkeep.run_failed", run_id=str(run_id), what=what.__name__)
        return []


def _cancel(connection: Connection, statement: str, late: Late) -> list[tuple[str, str]]:
    """Cancel a run in a transaction of its own, if it is still to be."""
    with connection.transaction():
        flows = sorted(key for key in (late.flow_a, late.flow_b) if key)
        found = store_upkeep.lock_late(connection, statement, late.id) if _lock_free(connection, flows) else None
        if found is None:
            return []
        ended = endings.cancel(connection, found, found.reason, found.error)
    logger.warning("run.cancelled", run_id=str(late.id), reason=late.reason)
    runtime().announce(sending.topics(late.id, late.subject, late.owner_id))
    sending.tell(ended.started)
    return ended.promoted


def _rescue(connection: Connection, lost: Expired) -> list[tuple[str, str]]:
    """Take a run over whose lease has expired: back to the queue, or dead when it never gets anywhere."""
    values = {"id": lost.id, "epoch": lost.epoch}
    flows = sorted(key for key in (lost.flow_a, lost.flow_b) if key)
    with connection.transaction():
        if flows and not _lock_free(connection, flows):
            return []
        counted = connection.execute(store_upkeep.COUNT_RECOVERY, values).fetchone()
        if counted is None:
            return []  # somebody else was quicker or has it locked, or the worker is alive after all
        if counted[0] <= MAX_RECOVERIES:
            row = connection.execute(store_upkeep.RESCUE, values).fetchone()
            logger.warning("run.rescued", run_id=str(lost.id), recoveries=counted[0])
            found = [(row[0], str(row[1]))] if row else []
            return found + store_admission.promote(connection, flows)
    ended = _bury(connection, lost, counted[0])
    sending.tell(ended.started, ended.sent)
    return ended.promoted


def _bury(connection: Connection, lost: Expired, recoveries: int) -> Ended:
    reason = f"Its worker was lost {recoveries} times in a row without a new step."
    error = {"class": "Dead", "code": "dead", "message": reason}
    ended = Ended(is_done=False)
    with connection.transaction():
        ended = endings.finish(connection, lost.id, lost.epoch, Ending("dead", error=error, reason=reason))
        if not ended.is_done:  # its worker was alive after all, and has ended it: no hook, no event
            raise psycopg.Rollback
    if ended.is_done:
        logger.error("run.dead", run_id=str(lost.id), workflow=lost.workflow, recoveries=recoveries)
        runtime().announce({f"run:{lost.id}"})
        runtime().show_failed(lost.workflow, str(lost.id))
    return ended


def _repair_held(connection: Connection) -> list[tuple[str, str]]:
    """Promote held runs whose key has free slots (a promotion may have been lost with its worker)."""
    keys = [row[0] for row in connection.execute(store_upkeep.HELD_KEYS).fetchall()]
    promoted: list[tuple[str, str]] = []
    seen = store_admission.free_slots(connection, keys)  # 5,000 full keys, locked one by one, would stop every clock
    for key in (key for key in keys if seen[key] > 0):
        with connection.transaction():
            if not _lock_free(connection, [key]):
                continue
            free = store_admission.free_slots(connection, [key])[key]
            if free > 0:
                promoted += store_admission.promote(connection, [key], free)
    return promoted


def _lock_free(connection: Connection, flows: list[str]) -> bool:
    """Lock flow keys if nobody else has one of them: a process that froze with a lock would stop every clock.

    Whoever has one is looked after by the next pass.
    """
    try:
        with connection.transaction():
            store.lock_flows(connection, flows, how=" NOWAIT")
    except psycopg.errors.LockNotAvailable:
        return False
    return True
