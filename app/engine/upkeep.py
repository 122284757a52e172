"""Timekeeping: due runs, expired leases, deadlines, schedules, runs set aside, what is to be forgotten.

There is no leader: a frozen leader would stop every clock. Any process may run a pass at any time; passes skip
what another one has locked.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import psycopg

from app.engine import endings, retention, schedules, store_admission, store_flows, store_upkeep, waits
from app.engine.after import After
from app.engine.endings import Ended, Ending
from app.engine.registry import registry
from app.engine.runtime import Connection, logger, runtime
from app.engine.store import RunRow
from app.engine.store_upkeep import Late
from app.lib.away import bearing_with_database, is_away
from app.lib.rows import rows_of

BATCH = 500
HOLDS = 10  # batches of runs of paused workflows that one pass sets aside
MAX_RECOVERIES = 5
LONGEST_SLEEP = 1.0  # seconds
ORPHANS_EVERY = 60.0  # seconds: all live children are looked at
AGAIN_AFTER = 0.1  # seconds: what is due after a pass was locked by somebody else, or has just become so
_orphans_at = 0.0  # time.monotonic() of the next look at all of them


def run_pass() -> None:
    """Do everything that is due now."""
    after = After()
    try:
        _do_all(after)
    finally:  # of what has been committed before something failed others hear all the same
        after.tell()


def _do_all(after: After) -> None:
    with runtime().pool.connection() as connection:
        while True:
            woken = store_upkeep.wake_due(connection, BATCH)
            after.queued(woken)
            if len(woken) < BATCH:
                break
        for lost in rows_of(RunRow, connection, store_upkeep.EXPIRED, [BATCH]):
            after.add(_or_say(lost.id, _rescue, connection, lost))
        for statement in (store_upkeep.OVERDUE, store_upkeep.UNHEEDED, _orphaned()):
            for late in store_upkeep.late(connection, statement, BATCH):
                after.add(_or_say(late.id, _cancel, connection, statement, late))
        with _going_on("schedules"):
            after.add(schedules.tick(connection))
        for _ in range(HOLDS):
            if store_admission.hold_paused(connection) < store_admission.BATCH:
                break
        after.queued(_repair_held(connection))
        with _going_on("waits"):
            waits.look_for_forgotten(connection)
        connection.execute(store_upkeep.FORGET, [BATCH])
        connection.execute(store_upkeep.FORGET_WORKERS)
        with _going_on("retention"):
            retention.sweep(connection)


def seconds_to_next() -> float:
    """Return how long upkeep may sleep: at most a second, less when something is due before."""
    planned = [found.name for found in registry.by_name.values() if found.cron]
    with runtime().pool.connection() as connection:
        [[seconds]] = connection.execute(store_upkeep.NEXT_DUE, [planned]).fetchall()
    due = LONGEST_SLEEP if seconds is None else float(seconds)
    return min(LONGEST_SLEEP, max(due, 0.01)) if due > 0 else AGAIN_AFTER


def loop(name: str, stop: threading.Event) -> None:
    """Run passes until `stop` is set. A database that is away is tried again every second."""
    while not stop.is_set():
        pause = LONGEST_SLEEP
        try:
            with bearing_with_database(logger, "upkeep.database_away"):
                run_pass()
                with runtime().pool.connection() as connection:
                    store_upkeep.upkeep_done(connection, name)
                pause = seconds_to_next()
        except Exception:  # noqa: BLE001  the clock must not stop for one bad row
            logger.exception("upkeep.failed")
        stop.wait(pause)


def identity(name: str, kind: str, threads: int, busy: int = 0) -> dict[str, Any]:
    """Return the row by which this process is known."""
    host = socket.gethostname()
    found = {"name": name, "kind": kind, "host": host, "pid": os.getpid(), "threads": threads, "busy": busy}
    return {**found, "workflows": [] if kind == "upkeep" else registry.names(isolated=runtime().isolated)}


@contextlib.contextmanager
def _going_on(part: str) -> Iterator[None]:
    """Go on after this part of a pass, whatever one bad row does in it: the parts behind it would never come."""
    try:
        yield
    except Exception as error:  # (as at the end of the loop)
        if is_away(error):
            raise
        logger.exception("upkeep.part_failed", part=part)


def _orphaned() -> str:
    """Return whose children to look at: runs that have ended just now, and now and then all (no pass may have come)."""
    global _orphans_at  # noqa: PLW0603
    if time.monotonic() < _orphans_at:
        return store_upkeep.JUST_ORPHANED
    _orphans_at = time.monotonic() + ORPHANS_EVERY
    return store_upkeep.ORPHANED


def _or_say(run_id: UUID, what: Callable[..., After], *args: Any) -> After:
    try:
        return what(*args)
    except Exception as error:  # one run that cannot be looked after must not keep those behind it from it
        if is_away(error):
            raise
        logger.exception("upkeep.run_failed", run_id=str(run_id), what=what.__name__)
        return After()


def _cancel(connection: Connection, statement: str, late: Late) -> After:
    """Cancel a run in a transaction of its own, if it is still to be."""
    with connection.transaction():
        is_free = _lock_free(connection, late.flows, late.parent_run if late.parent_step else None)
        found = store_upkeep.lock_late(connection, statement, late.id) if is_free else None
        if found is None:
            return After()
        after = endings.cancel(connection, found, found.why, found.failure).after
    logger.warning("run.cancelled", run_id=str(late.id), reason=late.why)
    return after


def _rescue(connection: Connection, lost: RunRow) -> After:
    """Take a run over whose lease has expired: back to the queue, or dead when it never gets anywhere."""
    values, after = {"id": lost.id, "epoch": lost.epoch}, After()
    with connection.transaction():
        if lost.flows and not _lock_free(connection, lost.flows):
            return after
        counted = connection.execute(store_upkeep.COUNT_RECOVERY, values).fetchone()
        if counted is None:
            return after  # somebody else was quicker or has it locked, or the worker is alive after all
        if counted[0] <= MAX_RECOVERIES:
            connection.execute(store_upkeep.RESCUE, values)
            logger.warning("run.rescued", run_id=str(lost.id), recoveries=counted[0])
            after.queued([(lost.workflow, str(lost.id)), *store_admission.promote(connection, lost.flows)])
            return after
    return _bury(connection, lost, counted[0]).after


def _bury(connection: Connection, lost: RunRow, recoveries: int) -> Ended:
    reason = f"Its worker was lost {recoveries} times in a row without a new step."
    error = {"class": "Dead", "code": "dead", "message": reason}
    ended = Ended(is_done=False)
    with connection.transaction():
        ended = endings.finish(connection, lost.id, lost.epoch, Ending("dead", error=error, reason=reason))
        if not ended.is_done:  # its worker was alive after all, and has ended it: no hook, no event
            raise psycopg.Rollback
    if ended.is_done:
        logger.error("run.dead", run_id=str(lost.id), workflow=lost.workflow, recoveries=recoveries)
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


def _lock_free(connection: Connection, flows: list[str], above: UUID | None = None) -> bool:
    """Lock flow keys, and then a run, if nobody else has one of them: a process that froze would stop every clock.

    Whoever has one is looked after by the next pass.
    """
    try:
        with connection.transaction():
            store_flows.lock(connection, flows, how=" NOWAIT")
            connection.execute("SELECT FROM run WHERE id = %s FOR NO KEY UPDATE NOWAIT", [above])
    except psycopg.errors.LockNotAvailable:
        return False
    return True
