"""How a run ends: one transaction with its status, its lifecycle event, its hook run and the freed slot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar
from uuid import UUID

from psycopg.rows import class_row

from app.engine import runtime, starting, store, store_admission
from app.engine.registry import registry
from app.engine.runtime import Connection
from app.engine.store_events import NewEvent
from app.engine.store_starting import NewRun
from app.lib.ids import new_id

NOT_RUNNING = ("queued", "waiting", "paused", "debounced")


@dataclass(frozen=True)
class Ending:
    """How a run ended."""

    status: str  # completed | failed | cancelled | dead
    output: str | None = None  # JSON
    error: dict[str, Any] | None = None
    reason: str | None = None
    progress: str | None = None  # JSON
    meta: str | None = None  # JSON
    from_statuses: tuple[str, ...] = ("running",)


@dataclass(frozen=True)
class RunToCancel:
    """What of a run its cancellation needs."""

    id: UUID
    status: str
    epoch: int
    subject: str | None
    owner_id: UUID | None
    flow_a: str | None
    flow_b: str | None
    COLUMNS: ClassVar[str] = "id, status, epoch, subject, owner_id, flow_a, flow_b"


@dataclass(frozen=True)
class Ended:
    """Whether it was this caller who ended the run, and whom to tell after the commit."""

    is_done: bool
    started: list[NewRun] = field(default_factory=list)
    promoted: list[tuple[str, str]] = field(default_factory=list)  # and the parent that it woke
    sent: list[UUID] = field(default_factory=list)


FLOWS = "SELECT DISTINCT key FROM run, unnest(ARRAY[flow_a, flow_b]) AS key WHERE id = ANY(%s) AND key IS NOT NULL"
LOCK = f"SELECT {RunToCancel.COLUMNS} FROM run WHERE id = ANY(%s) ORDER BY id FOR UPDATE"  # noqa: S608  (constant text)
RUN_FOR_ENDING = """
SELECT id, workflow, owner_id, subject, event_id, event_name, epoch, flow_a, flow_b, idempotency_key, reason,
  error, parent_run, parent_step
FROM run WHERE id = %s
"""

# Its owner acts on it at the next step boundary. Once only: a deadline that passes then adds nothing.
REQUEST_CANCEL = """
UPDATE run SET requested = 'cancel', reason = %s, error = coalesce(%s::json, error), deadline_at = NULL
WHERE id = %s AND status = 'running'
"""


@dataclass(frozen=True)
class EndingRun:
    """What of a run its ending needs."""

    id: UUID
    workflow: str
    owner_id: UUID | None
    subject: str | None
    event_id: UUID
    event_name: str
    epoch: int
    flow_a: str | None
    flow_b: str | None
    idempotency_key: str | None
    reason: str | None  # of a cancellation that was requested, as the error
    error: dict[str, Any] | None
    parent_run: UUID | None
    parent_step: str | None  # of an invoked run


def finish(connection: Connection, run_id: UUID, epoch: int, ending: Ending) -> Ended:
    """End a run in the caller's transaction, if its epoch and status are still as expected.

    Writes what follows from the ending first (flow keys come before runs in the lock order); when the run has
    moved on, the caller must roll back.
    """
    row = connection.execute(RUN_FOR_ENDING, [run_id]).fetchone()
    if row is None:
        return Ended(is_done=False)
    run = EndingRun(*row)
    sent, started = _write_consequences(connection, run, ending)
    flows = sorted(key for key in (run.flow_a, run.flow_b) if key)
    store.lock_flows(connection, flows)
    woken = store.wake(connection, [run.parent_run]) if run.parent_run and run.parent_step else []
    values = {**vars(ending), "run_id": run_id, "epoch": epoch, "from_statuses": list(ending.from_statuses)}
    values["error"] = None if ending.error is None else json.dumps(ending.error)
    if connection.execute(store.FINISH, values).fetchone() is None:
        return Ended(is_done=False)
    if ending.status != "dead":  # which may be resumed: then it is to know the events that it has had
        connection.execute(store.FORGET_WAITS, [run_id])
    if ending.status != "completed" and run.idempotency_key:
        scope = starting.run_scope(run.workflow, run.owner_id)
        connection.execute(store.RELEASE_KEY, [scope, run.idempotency_key, run.id])
    return Ended(True, started, woken + store_admission.promote(connection, flows), sent)


def lock(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, RunToCancel]:
    """Lock runs in the caller's transaction, their flow keys first: the other order deadlocks with their workers."""
    keys = sorted(row[0] for row in connection.execute(FLOWS, [list(ids)]).fetchall())
    if keys:
        # The lock stops all claims of these keys: if this process freezes now, PostgreSQL ends the transaction.
        connection.execute(f"SET LOCAL idle_in_transaction_session_timeout = {round(1000 * runtime.FROZEN_SECONDS)}")
        store.lock_flows(connection, keys)
    with connection.cursor(row_factory=class_row(RunToCancel)) as cursor:
        return {run.id: run for run in cursor.execute(LOCK, [list(ids)]).fetchall()}


def cancel(connection: Connection, run: RunToCancel, reason: str, error: dict[str, Any] | None = None) -> Ended:
    """Cancel a run in the caller's transaction, which has locked its flow keys and then the run.

    At once when it is not executing; else `is_done` is false, and its owner does so at the next step boundary.
    """
    if run.status != "running":
        ending = Ending("cancelled", reason=reason, error=error, from_statuses=NOT_RUNNING)
        return finish(connection, run.id, run.epoch, ending)
    connection.execute(REQUEST_CANCEL, [reason, None if error is None else json.dumps(error), run.id])
    return Ended(is_done=False)


def _write_consequences(connection: Connection, run: EndingRun, ending: Ending) -> tuple[list[UUID], list[NewRun]]:
    workflow = registry.by_name.get(run.workflow)
    if workflow is not None and workflow.is_hook:
        return [], []  # a hook's own ending starts nothing, so that a failing hook does not loop
    sent: list[UUID] = []
    started: list[NewRun] = []
    if not run.event_name.startswith("run/"):
        event = _lifecycle_event(run, ending)
        sent.append(event.id)
        started += starting.write(connection, [event])
    if workflow is not None and workflow.hook and ending.status != "completed":
        started += starting.insert_runs(connection, [_hook_run(run, workflow.hook)])
    return sent, started


def _lifecycle_event(run: EndingRun, ending: Ending) -> NewEvent:
    data = {
        "run_id": str(run.id),
        "workflow": run.workflow,
        "subject": run.subject,
        "event": {"id": str(run.event_id), "name": run.event_name},
        "error": ending.error or run.error,
        "reason": ending.reason or run.reason,
    }
    return NewEvent(new_id(), f"run/{ending.status}", data, json.dumps(data), run.owner_id)


def _hook_run(run: EndingRun, hook: str) -> NewRun:
    return NewRun(
        id=new_id(),
        workflow=hook,
        version=registry.by_name[hook].version,
        owner_id=run.owner_id,
        subject=run.subject,
        event_id=run.event_id,
        event_name=run.event_name,
        parent_run=run.id,
    )
