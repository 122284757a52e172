"""SQL that writes and reads events, and the ids by which they are recognised for 24 hours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from app.engine.runtime import Connection
from app.lib import tracing
from app.lib.rows import many


@dataclass(frozen=True)
class NewEvent:
    """An event about to be written; `unique_id` is the caller's own id for it, `occurred_at` its own time."""

    id: UUID
    name: str
    data: dict[str, Any]
    text: str
    owner_id: UUID | None
    unique_id: str | None = None
    occurred_at: datetime | None = None
    trace: str | None = field(default_factory=tracing.traceparent)


@dataclass(frozen=True)
class Event:
    """The event that started a run."""

    id: UUID
    name: str
    data: dict[str, Any]
    owner_id: UUID | None
    created_at: datetime
    occurred_at: datetime | None = None

    def as_memo(self) -> dict[str, Any]:
        """Return it as JSON, in which a step remembers it."""
        times = {name: at and at.isoformat() for name in ("created_at", "occurred_at") if (at := vars(self)[name])}
        return {**as_names(self.id, self.name, self.data, self.owner_id), **times}

    @classmethod
    def from_memo(cls, memo: dict[str, Any]) -> Event:
        """Return the event that a step remembers."""
        owner, occurred_at = memo["owner_id"], memo.get("occurred_at")
        return cls(
            UUID(memo["id"]),
            memo["name"],
            memo["data"],
            owner and UUID(owner),
            datetime.fromisoformat(memo["created_at"]),
            occurred_at and datetime.fromisoformat(occurred_at),
        )


CLAIM_KEY = """
INSERT INTO idem (scope, key, holder, expires_at)
VALUES (%(scope)s, %(key)s, %(holder)s, engine_now() + interval '24 hours')
ON CONFLICT (scope, key) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
WHERE idem.expires_at <= engine_now()
RETURNING holder
"""

RELEASE_KEY = "DELETE FROM idem WHERE scope = %s AND key = %s AND holder = %s"

HOLDER = "SELECT holder FROM idem WHERE scope = %s AND key = %s AND expires_at > engine_now()"

INSERT_EVENT = """
INSERT INTO event (id, name, data, owner_id, topic, occurred_at, trace, created_at)
VALUES (%(id)s, %(name)s, %(text)s::json, %(owner_id)s, coalesce(%(owner_id)s::uuid::text, '') || ':' || %(name)s,
        %(occurred_at)s, %(trace)s, engine_now())
"""

LOAD_EVENT = "SELECT id, name, data, owner_id, created_at, occurred_at FROM event WHERE id = %s"


def insert_events(connection: Connection, events: list[NewEvent]) -> list[NewEvent]:
    """Write `events` in the order of their ids; returns those whose own id was not seen within 24 hours."""
    keyed = ((event, event.unique_id) for event in events)
    taken = claim_keys(connection, {(event_scope(event.owner_id), key): event.id for event, key in keyed if key})
    fresh = [event for event in events if not event.unique_id or event.id in taken]
    many(connection, INSERT_EVENT, [vars(event) for event in sorted(fresh, key=lambda event: event.id)])
    return fresh


def context_of(event: NewEvent | Event) -> Mapping[str, Any]:
    """Return what expressions such as `event.data.id` look into: plain JSON."""
    return {"event": as_names(event.id, event.name, event.data, event.owner_id)}


def as_names(event_id: UUID | None, name: str | None, data: Any, owner_id: UUID | None) -> dict[str, Any]:
    """Return an event as expressions and memos have it."""
    return {"id": str(event_id), "name": name, "data": data, "owner_id": None if owner_id is None else str(owner_id)}


def topic(owner_id: UUID | None, name: str) -> str:
    """Return what waits look for: an event's owner and its name."""
    return f"{owner_id or ''}:{name}"


def event_scope(owner_id: UUID | None) -> str:
    """Return the scope of event ids: nobody's id hides somebody else's event."""
    return f"event:{owner_id}"


def holder_of(connection: Connection, owner_id: UUID | None, unique_id: str) -> UUID | None:
    """Return the event that has held this id of its sender's in the last 24 hours, or None."""
    row = connection.execute(HOLDER, [event_scope(owner_id), unique_id]).fetchone()
    return None if row is None else row[0]


def claim_keys(connection: Connection, wanted: dict[tuple[str, str], UUID]) -> set[UUID]:
    """Take keys (scope and key -> who wants it) for 24 hours, in sorted order; returns who has got one."""
    taken: set[UUID] = set()
    for (scope, key), holder in sorted(wanted.items(), key=lambda item: item[0]):
        row = connection.execute(CLAIM_KEY, {"scope": scope, "key": key, "holder": holder}).fetchone()
        if row is not None:
            taken.add(row[0])
    return taken
