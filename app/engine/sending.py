"""Sending events: collected during the caller's transaction, written just before its COMMIT.

Everything is written in sorted order (idempotency keys, events, flow keys, runs), because two transactions
that write the same keys in opposite orders deadlock.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.engine import codec, current, starting, store_events
from app.engine.after import After
from app.engine.errors import EngineError, LimitExceeded
from app.engine.runtime import Connection, runtime
from app.engine.store_events import NewEvent
from app.lib import arguments, deadlocks, timeouts
from app.lib.ids import new_id
from app.lib.keys import compact
from app.lib.outbox import Outbox

MAX_EVENTS = 5000
MAX_NAME = 256
RESERVED = ("run/", "schedule/", "engine/", "workflow/")


def send(
    name: str, data: dict[str, Any], *, owner_id: UUID | None, id: str | UUID | None = None, at: datetime | None = None
) -> UUID:
    """Send an event in the caller's transaction and return its id.

    The event and one run per matching workflow are written just before the transaction commits; rolled back
    means no event and no run. A second event of the same owner with the same `id` within 24 hours is not written:
    the first one's id is returned. (Of two transactions that send it at the same moment, the one that commits later
    has got an id under which nothing is written.) `at` is when it happened, if that was not now: of the events of a
    debounce the latest counts, in whatever order they arrive.

    Raises:
        NotJson: the payload is not a JSON object.
        LimitExceeded: over 512 KiB, over 5,000 events in one transaction, or a name over 256 characters.
        EngineError: the name is reserved or malformed, `owner_id` is no UUID, `at` has no time zone or is out of the
            years that UTC has, or this is a workflow's body outside any step.
    """
    _refuse_outside_steps(f"Use step.send_event to send {name!r}")
    event = make_event(name, data, owner_id=owner_id, unique_id=None if id is None else compact(str(id)), at=at)
    session = runtime().ports.session()
    known = None if event.unique_id is None else _known(session, event)
    if known is not None:
        return known
    if outbox.count(session) >= MAX_EVENTS:
        raise LimitExceeded("events_per_send", f"At most {MAX_EVENTS} events are sent in one transaction.")
    outbox.add(session, event)
    return event.id


def _known(session: Session, event: NewEvent) -> UUID | None:
    """Return the event that has the id of `event` already, in this transaction or in the last 24 hours."""
    for sent in outbox.items(session):
        if (sent.owner_id, sent.unique_id) == (event.owner_id, event.unique_id):
            return sent.id
    return store_events.holder_of(driver(session), event.owner_id, str(event.unique_id))


def make_event(
    name: str, data: dict[str, Any], *, owner_id: UUID | None, unique_id: str | None = None, at: datetime | None = None
) -> NewEvent:
    """Check an event and give it its id; see `send` for what is refused."""
    if len(name) > MAX_NAME:
        raise LimitExceeded("event_name", f"An event's name has at most {MAX_NAME} characters.")
    if not arguments.EVENT_NAME.fullmatch(name):
        raise EngineError(f"{name!r} is no event name; write it like video/uploaded.")
    if name.startswith(RESERVED):
        raise EngineError(f"{name!r} is reserved: the engine itself sends it.")
    try:
        owner = None if owner_id is None else UUID(str(owner_id))
    except ValueError as error:
        told = f"{owner_id!r} is no owner of {name!r}: give the UUID of a person, or None for the system."
        raise EngineError(told) from error
    text = codec.dump_event(data, name)
    return NewEvent(new_id(), name, data, text, owner, unique_id, None if at is None else _in_utc(name, at))


def _in_utc(name: str, at: datetime) -> datetime:
    try:
        if at.utcoffset() is not None:
            return at.astimezone(UTC)
        told = "has no time zone"
    except OverflowError:  # PostgreSQL has that year, and nobody could read it again
        told = "is not in the years 1 to 9999 of UTC"
    raise EngineError(f"The time of {name!r} {told}; write datetime.now(UTC), for example.")


def has_uncommitted() -> bool:
    """Tell whether the current session has events, cancellations or reruns that are not committed yet."""
    session = runtime().ports.session
    try:
        is_there = session.registry.has()
    except RuntimeError:  # Flask's, outside of an app context: then there is no session either
        return False
    return is_there and not outbox.is_unused(session())


def _write(session: Session, events: list[NewEvent]) -> None:
    told, connection = after(session), driver(session)
    told.add(deadlocks.repeating_inside(connection, lambda: starting.write(connection, events)))
    told.sent += [event.id for event in events]


def after(session: Session) -> After:
    """Return what will be told once `session` has committed."""
    return outbox.after(session)


def begin() -> tuple[Session, Connection]:
    """Return the caller's session and its connection, with everything written that was said so far.

    Raises:
        EngineError: this is a workflow's body outside any step, where nobody would commit it.
    """
    _refuse_outside_steps("Use step.transaction to act on runs and schedules")
    session = runtime().ports.session()
    session.flush()
    return session, driver(session)


def _refuse_outside_steps(advice: str) -> None:
    if current.execution() is not None and current.attempt() is None:
        raise EngineError(f"{advice} from a workflow's body: it must happen once.")


def driver(session: Session) -> Connection:
    """Return the psycopg connection on which `session` has its transaction."""
    found: Connection = session.connection().connection.driver_connection  # type: ignore[assignment]
    return found


def listen() -> None:
    """Hook into every session's transaction (once per process)."""
    if not sa.event.contains(Session, "before_commit", _refuse_commit):
        sa.event.listen(Session, "before_commit", _refuse_commit)
        outbox.listen()


def _refuse_commit(session: Session) -> None:
    """Refuse the commit of abandoned work, and one inside a transaction step: it would be without the memo."""
    timeouts.refuse()
    attempt = current.attempt()
    is_whole = session.get_nested_transaction() is None
    if attempt is not None and attempt.is_transaction and is_whole and session is runtime().ports.session():
        raise EngineError(f"Step {attempt.key!r} must not commit: leave it out, or use session.begin_nested().")


outbox = Outbox("engine.collected", _write, After)
