"""What people do to runs: cancel, pause, resume, run again. All of it happens in the caller's transaction."""

import os
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.engine import codec, endings, sending, starting, store_admission, store_events
from app.engine.errors import RunActive, UnknownRun
from app.engine.registry import registry
from app.engine.runtime import Connection
from app.engine.schema import FINAL
from app.engine.store import RunRow
from app.engine.store_events import Event
from app.engine.store_starting import NewRun
from app.lib import json_text
from app.lib.ids import parse_id
from app.lib.rows import row_of

_PAUSE = """
UPDATE run SET status = CASE status WHEN 'running' THEN status ELSE 'paused' END, held_by = NULL,
               requested = CASE status WHEN 'running' THEN 'pause' END
WHERE id = %s AND status <> 'paused' AND requested IS DISTINCT FROM 'cancel'
"""
# One that has not started yet keeps its time: a throttle or a debounce has set it. Any other finds out by itself.
_RESUME = """
UPDATE run SET status = CASE WHEN keeps THEN 'waiting' ELSE 'queued' END, due_at = CASE WHEN keeps THEN due_at END
FROM (SELECT id AS it, started_at IS NULL AND due_at > engine_now() IS TRUE AS keeps FROM run WHERE id = %s) AS run_now
WHERE id = it AND status = 'paused'
"""
_REVIVE = """
UPDATE run SET status = 'queued', recoveries = 0, error = NULL, reason = NULL, active = NULL, finished_at = NULL,
               deadline_at = engine_now() + finish_seconds * interval '1 second'
WHERE id = %s AND status = 'dead'
"""
_PAUSE_WORKFLOW = "INSERT INTO pause (workflow, paused_at) VALUES (%s, engine_now()) ON CONFLICT DO NOTHING"
_QUEUED = "SELECT id FROM run WHERE workflow = %s AND status = 'queued' LIMIT 1000"
_WITHDRAW = "UPDATE run SET requested = NULL WHERE id = %s AND requested = 'pause'"
_IN_ORDER = "SELECT key, position, status FROM step WHERE run_id = %s ORDER BY position, started_at"
# With blobs of its own: retention deletes those of the first run together with it.
_COPY = """
WITH kept AS MATERIALIZED (
  SELECT *, CASE WHEN blob_id IS NOT NULL THEN gen_random_uuid() END AS own_blob FROM step
  WHERE run_id = %s AND key = ANY(%s)
), blobs AS (
  INSERT INTO blob (id, data) SELECT own_blob, data FROM kept JOIN blob ON blob.id = blob_id
)
INSERT INTO step (run_id, key, kind, status, position, input, output, blob_id, error, size_bytes, meta,
                  started_at, finished_at)
SELECT %s, key, kind, status, position, input, output, own_blob, error, size_bytes, meta, started_at, finished_at
FROM kept
"""
# Of a hook, the new run cleans up after the same run as the first; of an invoked one, nobody waits for the new run.
_FORK = """
SELECT workflow, status, event_id, subject, CASE WHEN parent_step IS NULL THEN parent_run END FROM run WHERE id = %s
"""
# Whether the run has met a step that it does not remember: it backed off, waited, or killed the worker.
_IS_MET = """
SELECT EXISTS (SELECT FROM step_attempt WHERE run_id = %(id)s AND key = %(key)s)
    OR EXISTS (SELECT FROM wait WHERE run_id = %(id)s AND key = %(key)s)
    OR EXISTS (SELECT FROM run WHERE parent_run = %(id)s AND parent_step = %(key)s)
    OR EXISTS (SELECT FROM run WHERE id = %(id)s AND active -> %(key)s::text IS NOT NULL)
"""


def cancel(run_id: UUID, reason: str = "") -> bool:
    """Cancel a run in the caller's transaction; returns whether it had not ended yet.

    A run that is not executing is cancelled at once. One that is finishes its current step, keeps the result,
    and stops at the next step (within a second of the commit when it is between steps). Commit soon: a transaction
    that lies idle for ten seconds after this is ended by the database.
    """
    session, connection = sending.begin()
    run = _lock_run(session, run_id)
    if run is None or run.status in FINAL:
        return False
    ended = endings.cancel(connection, run, json_text.printable(reason))
    sending.after(session).add(ended.after)
    return ended.is_done or run.status == "running"


def pause(run_id: UUID) -> bool:
    """Pause a run in the caller's transaction until somebody resumes it; returns whether that changed anything.

    A run that is not executing is paused at once; one that is keeps the result of its current step, as with `cancel`,
    which also overrides this. Events that it waits for still count. A run that gathers events (debounce) gathers no
    more: the next one starts another run. A deadline goes on counting.
    """
    session, connection = sending.begin()
    run = _lock_run(session, run_id)
    if run is None or run.status in FINAL:
        return False
    is_changed = connection.execute(_PAUSE, [run.id]).rowcount > 0
    if is_changed and run.status == "queued":
        sending.after(session).queued(store_admission.promote(connection, run.flows))  # it may have been its turn
    return is_changed


def resume(run_id: UUID) -> bool:
    """Let a paused run go on, or a dead one try anew, in the caller's transaction; returns whether that changed it.

    A run that was asked to pause and has not done so yet is no longer asked. One that a throttle or a debounce had put
    off when it was paused still starts at its time.
    """
    session, connection = sending.begin()
    run = _lock_run(session, run_id)
    if run is None:
        return False
    statement = {"paused": _RESUME, "dead": _REVIVE}.get(run.status, _WITHDRAW)
    return connection.execute(statement, [run.id]).rowcount > 0


def pause_workflow(name: str) -> bool:
    """Pause a workflow in the caller's transaction; returns whether it was not paused before.

    Its events and schedule still make runs (see `pause_schedule`), and none starts. Those that execute go on until they
    park or end.
    """
    return _change_workflow(_PAUSE_WORKFLOW, name)


def resume_workflow(name: str) -> bool:
    """Let the runs of a paused workflow start again, the oldest first; returns whether it was paused.

    In the caller's transaction; upkeep lets them go, a thousand at once.
    """
    return _change_workflow("DELETE FROM pause WHERE workflow = %s", name)


def replay(run_id: UUID) -> UUID:
    """Start a new run of the same event from its beginning, whatever became of the first one; returns its id.

    Raises:
        UnknownRun: no such run of a known workflow, or its event is gone.
    """
    session, connection = sending.begin()
    plan, _ = _fork(connection, run_id)
    return _insert(session, connection, plan)


def rerun_from(run_id: UUID, step_key: str, input: list[Any] | None = None) -> UUID:
    """Start a new run of the same event that goes on at a step; returns its id.

    The memos of the steps before it are copied; so are the results in other branches beside it. `input` replaces the
    step's arguments (a list, as `StepView.input` shows them). The step may be one that was not finished: it backed off,
    waited, or its worker died of it.

    Raises:
        UnknownRun: no such run, or it has no such step.
        RunActive: it has not ended yet.
        NotJson: the input is not JSON.
    """
    session, connection = sending.begin()
    plan, status = _fork(connection, run_id)
    if status not in FINAL:
        raise RunActive(f"Run {run_id} is {status}; cancel it before running it again.")
    copied = _keys_before(connection, run_id, step_key)
    edited = None if input is None else codec.dumps({"step": step_key, "input": list(input)}, "The edited input")
    new_id = _insert(session, connection, replace(plan, edited=edited))
    connection.execute(_COPY, [run_id, copied, new_id])
    return new_id


def _change_workflow(statement: str, name: str) -> bool:
    """Pause or resume a workflow, and tell pages of its queued runs: for whom nobody waits now, or again."""
    session, connection = sending.begin()
    is_changed = connection.execute(statement, [name]).rowcount > 0
    queued = connection.execute(_QUEUED, [name]).fetchall() if is_changed else []
    sending.after(session).topics.update(f"run:{row[0]}" for row in queued)
    return is_changed


def _lock_run(session: Session, run_id: UUID) -> RunRow | None:
    known = _id_of(run_id)
    run = endings.lock(sending.driver(session), [known]).get(known)
    if run is not None:
        sending.after(session).changed(run)
    return run


def _id_of(run_id: UUID | str) -> UUID:
    if (known := parse_id(run_id)) is None:
        raise UnknownRun(f"{run_id!r} is no run's id; list_runs() shows those there are.")
    return known


def _fork(connection: Connection, run_id: UUID) -> tuple[NewRun, str]:
    """Return a new run of the same event, and the status of the first one."""
    row = connection.execute(_FORK, [_id_of(run_id)]).fetchone()
    if row is None or row[0] not in registry.by_name:
        told = "list_runs() shows those there are, and jobs/__init__.py is to import its workflow."
        raise UnknownRun(f"There is no run {run_id} of a workflow that is known here: {told}")
    name, status, event_id, subject, parent_run = row
    event = row_of(Event, connection, store_events.LOAD_EVENT, [event_id])
    if event is None:
        raise UnknownRun(f"The event of run {run_id} is gone.")
    kept = {"forked_from": run_id, "parent_run": parent_run, "subject": subject}
    return starting.plan(registry.by_name[name], event, **kept), status


def _insert(session: Session, connection: Connection, plan: NewRun) -> UUID:
    sending.after(session).add(starting.insert_runs(connection, [plan]))
    return plan.id


def _keys_before(connection: Connection, run_id: UUID, step_key: str) -> list[str]:
    """Return the memos to copy: all of the verbs before the step, and what is complete in the branches beside it.

    A failure before it was caught by the body, which went on; one beside it would only fail the new run again. Nothing
    comes after a step that did not end.
    """
    rows = connection.execute(_IN_ORDER, [run_id]).fetchall()
    places = {key: (position, number) for number, (key, position, _) in enumerate(rows)}
    if step_key in places:
        until = places[step_key]
        return [key for key, _, status in rows if _is_kept(places[key], until, is_complete=status == "completed")]
    asked = {"id": run_id, "key": json_text.printable(step_key)}  # as no key is that the database cannot hold
    if connection.execute(_IS_MET, asked).fetchone() != (True,):
        raise UnknownRun(f"Run {run_id} has no step {step_key!r}; list_steps shows those it has.")
    return [key for key, _, status in rows if status == "completed" or not _is_beside(key, step_key)]


def _is_beside(key: str, other: str) -> bool:
    """Tell whether two steps are in different branches: their keys part inside the brackets that name one."""
    shared = os.path.commonprefix([key, other])  # noqa: RUF071  (character by character)
    return shared.rfind("[") > shared.rfind("]")


def _is_kept(place: tuple[list[int], int], until: tuple[list[int], int], *, is_complete: bool) -> bool:
    """Tell whether a step's memo counts when the run goes on at another step.

    A position is verb, branch, verb, branch, ...: at the first difference, an earlier verb is before, and another
    branch is independent. Of two with one position, the order of the list tells (see `Step`).
    """
    for depth, (mine, other) in enumerate(zip(place[0], until[0], strict=False)):
        if mine != other:
            return is_complete if depth % 2 == 1 else mine < other
    return place[1] < until[1]
