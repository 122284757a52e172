"""What people do to runs: cancel, and run again from a step. Both happen in the caller's transaction."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from app.engine import endings, sending, starting, store_events
from app.engine.errors import RunActive, UnknownRun
from app.engine.registry import registry
from app.engine.runtime import Connection, runtime
from app.engine.schema import FINAL
from app.engine.store_events import Event

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
    run = endings.lock(connection, run_id)
    if run is None or run.status in FINAL:
        return False
    ended = endings.cancel(connection, run, reason.replace("\x00", ""))
    sending.tell_after_commit(session, ended.started, sending.topics(run_id, run.subject, run.owner_id), ended.sent)
    return ended.is_done or run.status == "running"


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
    plan = starting.plan(registry.by_name[name], event, **kept)
    written = starting.insert_runs(connection, [plan])
    connection.execute(_COPY, [plan.id, run_id, copied])
    sending.tell_after_commit(session, written)
    return plan.id


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
