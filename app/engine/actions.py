"""What people do to runs: cancel, and run again from a step. Both happen in the caller's transaction."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from app.engine import endings, sending, store, store_events
from app.engine import runtime as runtimes
from app.engine.endings import Ending
from app.engine.errors import RunActive, UnknownRun
from app.engine.registry import registry
from app.engine.runtime import Connection, runtime
from app.engine.schema import FINAL
from app.engine.store_events import Event

_FLOWS = "SELECT flow_a, flow_b FROM run WHERE id = %s"
_LOCK = "SELECT status, epoch, subject, owner_id FROM run WHERE id = %s FOR UPDATE"
_REQUEST = "UPDATE run SET requested = 'cancel', reason = %s WHERE id = %s AND status = 'running'"
_COPY = """
INSERT INTO step (run_id, key, kind, status, position, input, output, blob_id, error, size_bytes, meta,
                  started_at, finished_at)
SELECT %s, key, kind, status, position, input, output, blob_id, error, size_bytes, meta, started_at,
       finished_at
FROM step WHERE run_id = %s AND key = ANY(%s)
"""
_RERUN = "SELECT workflow, status, event_id, subject, parent_run FROM run WHERE id = %s"
_TRIES = "SELECT FROM step_attempt WHERE run_id = %s AND key = %s LIMIT 1"


def cancel(run_id: UUID, reason: str = "") -> bool:
    """Cancel a run in the caller's transaction; returns whether it had not ended yet.

    A run that is not executing is cancelled at once. One that is finishes its current step, keeps the result,
    and stops at the next step (within a second of the commit when it is between steps). Commit soon: a transaction
    that lies idle for ten seconds after this is ended by the database.
    """
    session = runtime().ports.session()
    session.flush()
    connection = sending.driver(session)
    _lock_flows(connection, run_id)
    row = connection.execute(_LOCK, [run_id]).fetchone()
    if row is None or row[0] in FINAL:
        return False
    status, epoch, subject, owner_id = row
    reason = reason.replace("\x00", "")
    sending.tell_after_commit(session, [], sending.topics(run_id, subject, owner_id))
    if status == "running":
        connection.execute(_REQUEST, [reason, run_id])
        return True
    ending = Ending("cancelled", reason=reason, from_statuses=("queued", "waiting"))
    ended = endings.finish(connection, run_id, epoch, ending)
    sending.tell_after_commit(session, ended.started)
    return ended.is_done


def rerun_from(run_id: UUID, step_key: str, input: list[Any] | None = None) -> UUID:  # noqa: A002
    """Start a new run of the same event that goes on at a step; returns its id.

    The memos of the steps before it are copied; so are the results in other branches beside it. `input` replaces the
    step's arguments (a list, as `StepView.input` shows them). The step may be one that was backing off.

    Raises:
        UnknownRun: no such run, or it has no such step.
        RunActive: it has not ended yet.
    """
    session = runtime().ports.session()
    session.flush()
    connection = sending.driver(session)
    row = connection.execute(_RERUN, [run_id]).fetchone()
    if row is None or row[0] not in registry.by_name:
        raise UnknownRun(f"There is no run {run_id} of a known workflow.")
    name, status, event_id, subject, parent_run = row
    if status not in FINAL:
        raise RunActive(f"Run {run_id} is {status}; cancel it before running it again.")
    copied = _keys_before(connection, run_id, step_key)
    with connection.cursor(row_factory=class_row(Event)) as cursor:
        event = cursor.execute(store_events.LOAD_EVENT, [event_id]).fetchone()
    if event is None:
        raise UnknownRun(f"The event of run {run_id} is gone.")
    edited = None if input is None else json.dumps({"step": step_key, "input": list(input)})
    kept = {"forked_from": run_id, "parent_run": parent_run, "subject": subject, "edited": edited}
    plan = store_events.plan(registry.by_name[name], event, **kept)
    plan = store_events.NewRun(**{**vars(plan), "idempotency_key": None})  # it is wanted a second time
    store_events.insert_runs(connection, [plan])
    connection.execute(_COPY, [plan.id, run_id, copied])
    sending.tell_after_commit(session, [plan])
    return plan.id


def _lock_flows(connection: Connection, run_id: UUID) -> None:
    """Lock the run's flow keys before the run itself, as everywhere; the other order deadlocks with its worker."""
    row = connection.execute(_FLOWS, [run_id]).fetchone()
    keys = sorted(key for key in row or () if key)
    if keys:
        # The lock stops all claims of these keys: if this process freezes now, PostgreSQL ends the transaction.
        connection.execute(f"SET LOCAL idle_in_transaction_session_timeout = {round(1000 * runtimes.FROZEN_SECONDS)}")
        connection.execute(store.LOCK_FLOWS, [keys])


def _keys_before(connection: Connection, run_id: UUID, step_key: str) -> list[str]:
    """Return the memos to copy: all of the verbs before the step, and what is complete in the branches beside it.

    A failure before it was caught by the body, which went on; one beside it would only fail the new run again.
    """
    rows = connection.execute("SELECT key, position, status FROM step WHERE run_id = %s", [run_id]).fetchall()
    positions = {key: position for key, position, _ in rows}
    if step_key in positions:
        until = positions[step_key]
        return [key for key, position, status in rows if _is_kept(position, until, is_complete=status == "completed")]
    if connection.execute(_TRIES, [run_id, step_key]).fetchone() is None:
        raise UnknownRun(f"Run {run_id} has no step {step_key!r}.")
    return [key for key, _, status in rows if status == "completed"]  # it was backing off: nothing comes after it


def _is_kept(position: list[int], until: list[int], *, is_complete: bool) -> bool:
    """Tell whether a step's memo counts when the run goes on at another step.

    A position is verb, branch, verb, branch, ...: at the first difference, an earlier verb is before, and another
    branch is independent.
    """
    for depth, (mine, other) in enumerate(zip(position, until, strict=False)):
        if mine != other:
            return is_complete if depth % 2 == 1 else mine < other
    return False
