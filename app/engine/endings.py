"""How a run ends: one transaction with its status, its lifecycle event, its hook run and the freed slot."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from app.engine import store, store_admission, store_events
from app.engine.registry import registry
from app.engine.runtime import Connection
from app.engine.store_events import NewEvent, NewRun
from app.lib.ids import new_id


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
class Ended:
    """Whether it was this caller who ended the run, and whom to tell after the commit."""

    is_done: bool
    started: list[NewRun] = field(default_factory=list)
    promoted: list[tuple[str, str]] = field(default_factory=list)


RUN_FOR_ENDING = """
SELECT id, workflow, owner_id, subject, event_id, event_name, epoch, flow_a, flow_b, idempotency_key, reason
FROM run WHERE id = %s
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
    reason: str | None  # of a cancellation that was requested


def finish(connection: Connection, run_id: UUID, epoch: int, ending: Ending) -> Ended:
    """End a run in the caller's transaction, if its epoch and status are still as expected.

    Writes what follows from the ending first (flow keys come before runs in the lock order); when the run has
    moved on, the caller must roll back.
    """
    row = connection.execute(RUN_FOR_ENDING, [run_id]).fetchone()
    if row is None:
        return Ended(is_done=False)
    run = EndingRun(*row)
    started = _write_consequences(connection, run, ending)
    flows = sorted(key for key in (run.flow_a, run.flow_b) if key)
    if flows:
        connection.execute(store.LOCK_FLOWS, [flows])
    values = {**vars(ending), "run_id": run_id, "epoch": epoch, "from_statuses": list(ending.from_statuses)}
    values["error"] = None if ending.error is None else json.dumps(ending.error)
    if connection.execute(store.FINISH, values).fetchone() is None:
        return Ended(is_done=False)
    if ending.status != "completed" and run.idempotency_key:
        scope = store_events.run_scope(run.workflow, run.owner_id)
        connection.execute(store.RELEASE_KEY, [scope, run.idempotency_key, run.id])
    return Ended(True, started, store_admission.promote(connection, flows))


def _write_consequences(connection: Connection, run: EndingRun, ending: Ending) -> list[NewRun]:
    workflow = registry.by_name.get(run.workflow)
    if workflow is not None and workflow.is_hook:
        return []  # a hook's own ending starts nothing, so that a failing hook does not loop
    started: list[NewRun] = []
    if not run.event_name.startswith("run/"):
        started += store_events.write(connection, [_lifecycle_event(run, ending)])
    if workflow is not None and workflow.hook and ending.status != "completed":
        started += store_events.insert_runs(connection, [_hook_run(run, workflow.hook)])
    return started


def _lifecycle_event(run: EndingRun, ending: Ending) -> NewEvent:
    data = {
        "run_id": str(run.id),
        "workflow": run.workflow,
        "subject": run.subject,
        "event": {"id": str(run.event_id), "name": run.event_name},
        "error": ending.error,
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
