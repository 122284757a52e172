"""SQL that writes events and the runs they start; every statement in one sorted order (see sending)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from app.engine.registry import Workflow, registry
from app.engine.runtime import Connection
from app.lib.ids import new_id


@dataclass(frozen=True)
class NewEvent:
    """An event about to be written; `unique_id` is the caller's own id for it."""

    id: UUID
    name: str
    data: dict[str, Any]
    text: str
    owner_id: UUID | None
    unique_id: str | None = None

    @property
    def context(self) -> dict[str, Any]:
        """Return what paths such as `event.data.id` look into."""
        return {"event": {"id": str(self.id), "name": self.name, "data": self.data, "owner_id": self.owner_id}}


@dataclass(frozen=True)
class NewRun:
    """A run about to be written."""

    id: UUID
    workflow: str
    version: int
    owner_id: UUID | None
    subject: str | None
    event_id: UUID
    event_name: str
    flow_a: str | None = None
    flow_b: str | None = None
    idempotency_key: str | None = None
    parent_run: UUID | None = None
    forked_from: UUID | None = None
    edited: str | None = None
    parent_step: str | None = None
    is_cancelled_with_parent: bool = False


CLAIM_KEY = """
INSERT INTO idem (scope, key, holder, expires_at)
VALUES (%(scope)s, %(key)s, %(holder)s, engine_now() + interval '24 hours')
ON CONFLICT (scope, key) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
WHERE idem.expires_at <= engine_now()
RETURNING holder
"""

HOLDER = "SELECT holder FROM idem WHERE scope = %s AND key = %s AND expires_at > engine_now()"

INSERT_EVENT = """
INSERT INTO event (id, name, data, owner_id, topic, created_at)
VALUES (%(id)s, %(name)s, %(text)s::json, %(owner_id)s, coalesce(%(owner_id)s::uuid::text, '') || ':' || %(name)s,
        engine_now())
"""

INSERT_FLOW = "INSERT INTO flow (key) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING"

INSERT_RUN = """
INSERT INTO run (id, workflow, version, status, owner_id, subject, event_id, event_name, flow_a, flow_b,
                 idempotency_key, parent_run, parent_step, is_cancelled_with_parent, forked_from, edited,
                 sort_at, created_at)
SELECT %(id)s, %(workflow)s, %(version)s, 'queued', %(owner_id)s, %(subject)s, %(event_id)s, %(event_name)s,
       %(flow_a)s, %(flow_b)s, %(idempotency_key)s, %(parent_run)s, %(parent_step)s,
       %(is_cancelled_with_parent)s, %(forked_from)s, %(edited)s::json, at, at
FROM engine_now() AS at
"""

LOAD_EVENT = "SELECT id, name, data, owner_id, created_at FROM event WHERE id = %s"


@dataclass(frozen=True)
class Event:
    """The event that started a run."""

    id: UUID
    name: str
    data: dict[str, Any]
    owner_id: UUID | None
    created_at: datetime

    def as_memo(self) -> dict[str, Any]:
        """Return it as JSON, in which a step remembers it."""
        owner = str(self.owner_id) if self.owner_id else None
        at = self.created_at.isoformat()
        return {"id": str(self.id), "name": self.name, "data": self.data, "owner_id": owner, "created_at": at}

    @classmethod
    def from_memo(cls, memo: dict[str, Any]) -> Event:
        """Return the event that a step remembers."""
        owner = UUID(memo["owner_id"]) if memo["owner_id"] else None
        return cls(UUID(memo["id"]), memo["name"], memo["data"], owner, datetime.fromisoformat(memo["created_at"]))


def write(connection: Connection, events: list[NewEvent]) -> list[NewRun]:
    """Write `events` and the runs they start; returns the runs that were written.

    Events and runs whose id or idempotency key was seen within 24 hours are left out.
    """
    keyed = {(event_scope(event.owner_id), event.unique_id): event.id for event in events if event.unique_id}
    taken = _claim_keys(connection, {(scope, str(key)): holder for (scope, key), holder in keyed.items()})
    fresh = [event for event in events if not event.unique_id or event.id in taken]
    _insert(connection, INSERT_EVENT, [vars(event) for event in sorted(fresh, key=lambda event: event.id)])
    return insert_runs(connection, [plan(found, event) for event in fresh for found in registry.listeners(event.name)])


def topic(owner_id: UUID | None, name: str) -> str:
    """Return what waits look for: an event's owner and its name."""
    return f"{owner_id or ''}:{name}"


def event_scope(owner_id: UUID | None) -> str:
    """Return the scope of event ids: nobody's id hides somebody else's event."""
    return f"event:{owner_id}"


def run_scope(workflow: str, owner_id: UUID | None) -> str:
    """Return the scope of a workflow's idempotency keys: nobody's key suppresses somebody else's run."""
    return f"run:{workflow}:{owner_id}"


def holder_of(connection: Connection, owner_id: UUID | None, unique_id: str) -> UUID | None:
    """Return the event that has held this id of its sender's in the last 24 hours, or None."""
    row = connection.execute(HOLDER, [event_scope(owner_id), unique_id]).fetchone()
    return None if row is None else row[0]


def plan(workflow: Workflow, event: NewEvent | Event, **more: Any) -> NewRun:
    """Return the run of `workflow` that `event` starts."""
    context = {
        "event": {"id": str(event.id), "name": event.name, "data": event.data, "owner_id": event.owner_id},
    }
    flows = [*workflow.flow_keys(context), None, None]
    return NewRun(
        id=new_id(),
        workflow=workflow.name,
        version=workflow.version,
        owner_id=event.owner_id,
        subject=more.pop("subject", None) or workflow.subject_of(context),
        event_id=event.id,
        event_name=event.name,
        flow_a=flows[0],
        flow_b=flows[1],
        idempotency_key=workflow.idempotency_key(context),
        **more,
    )


def start_one(
    connection: Connection, workflow: Workflow, name: str, data: dict[str, Any], *, owner_id: UUID | None
) -> list[NewRun]:
    """Write an event of the engine's own, and the run of this one workflow that it starts."""
    event = NewEvent(new_id(), name, data, json.dumps(data), owner_id)
    connection.execute(INSERT_EVENT, vars(event))
    return insert_runs(connection, [plan(workflow, event)])


def insert_runs(connection: Connection, runs: list[NewRun]) -> list[NewRun]:
    """Write `runs`, leaving out those whose idempotency key another run holds; returns the written ones."""
    keyed = {
        (run_scope(run.workflow, run.owner_id), run.idempotency_key): run.id
        for run in reversed(runs)
        if run.idempotency_key
    }
    taken = _claim_keys(connection, {(scope, str(key)): holder for (scope, key), holder in keyed.items()})
    fresh = [run for run in runs if not run.idempotency_key or run.id in taken]
    flows = sorted({key for run in fresh for key in (run.flow_a, run.flow_b) if key})
    if flows:
        connection.execute(INSERT_FLOW, [flows])
    _insert(connection, INSERT_RUN, [vars(run) for run in fresh])
    return fresh


def _insert(connection: Connection, statement: str, rows: list[dict[str, Any]]) -> None:
    if len(rows) == 1:
        connection.execute(statement, rows[0])
    elif rows:
        with connection.cursor() as cursor:
            cursor.executemany(statement, rows)


def _claim_keys(connection: Connection, wanted: dict[tuple[str, str], UUID]) -> set[UUID]:
    taken: set[UUID] = set()
    for (scope, key), holder in sorted(wanted.items(), key=lambda item: item[0]):
        row = connection.execute(CLAIM_KEY, {"scope": scope, "key": key, "holder": holder}).fetchone()
        if row is not None:
            taken.add(row[0])
    return taken
