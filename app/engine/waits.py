"""Waiting for events: what a run waits for, or is cancelled by, is a row; so is an event.

Both sides publish first and look after: the sender commits its event and then looks for waits that it ends; a worker
commits a wait and then looks back over the events. Whichever committed later sees the other. `event.matched_at` and
`wait.scanned_at` stay null until that side's look has committed; upkeep does what is null because a process died, and
looks back for `cancel_on`, whose rows are written with their run and have nobody else.

Times are those of the clock when a row is written: `now()` would be the start of the transaction, and lose events.
Lock order: runs by id, then waits. A look holds the runs whose waits it ends, so that a run takes an event once.
"""

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from app.engine import endings, store, store_events
from app.engine.after import After
from app.engine.errors import LostLease, Park
from app.engine.execution import Execution
from app.engine.runtime import Connection, logger, runtime
from app.engine.schema import FINAL
from app.engine.store_events import Event
from app.lib import expressions
from app.lib.away import bearing_with_database
from app.lib.expressions import ExpressionError
from app.lib.rows import row_of, rows_of

BATCH = 500
SETTLED_SECONDS = 0.5  # upkeep leaves younger events to their senders

REGISTER = """
INSERT INTO wait (run_id, key, topic, kind, match_path, match_value, condition, since, due_at, created_at)
SELECT run.id, %(key)s, topic, 'event', %(path)s::text[], %(value)s, %(condition)s,
       greatest(%(since)s::timestamptz, run.created_at), engine_now() + %(seconds)s * interval '1 second', engine_now()
FROM run, unnest(%(topics)s::text[]) AS topic
WHERE run.id = %(run_id)s AND run.epoch = %(epoch)s AND run.status = 'running' FOR SHARE OF run
ON CONFLICT DO NOTHING
"""

STATES = """
SELECT DISTINCT ON (key) key, status, due_at, event_id, error, scanned_at IS NULL AS is_fresh FROM wait
WHERE run_id = %s AND key = coalesce(%s, key) AND kind = 'event' ORDER BY key, event_id NULLS LAST, error NULLS LAST
"""

TIME_OUT = """
UPDATE wait SET status = 'timed-out'
WHERE run_id = %(run_id)s AND key = %(key)s AND wait.status || '' = 'open' AND due_at <= engine_now() RETURNING key
"""

# PostgreSQL cannot look into an event that has a null character or half a character somewhere: `_fits` does so. Only
# for it and for conditions are payloads fetched: one event may have 100,000 waits.
_PAIRS = """
SELECT wait.run_id, wait.key, wait.topic, wait.kind, wait.match_path, wait.match_value, wait.condition,
       event.id AS event_id, event.name, event.owner_id, cause.id AS cause_id, cause.name AS cause_name,
       wait.created_at AS waited_at,
       CASE WHEN wait.condition IS NOT NULL OR wait.match_path IS NOT NULL AND event.data::text ~ '\\\\u(0000|d[89a-f])'
            THEN event.data END AS data,
       CASE WHEN wait.condition IS NOT NULL THEN cause.data END AS cause_data
FROM event
JOIN wait ON wait.topic = event.topic
JOIN run ON run.id = wait.run_id AND run.event_id <> event.id
LEFT JOIN event AS cause ON cause.id = run.event_id
WHERE coalesce(event.matched_at, engine_now()) >= wait.since
  AND CASE WHEN wait.match_path IS NULL OR event.data::text ~ '\\\\u(0000|d[89a-f])' THEN true
           ELSE md5(event.data #>> wait.match_path) = wait.match_value END
"""

_OPEN_PAIRS = f"{_PAIRS} AND event.id = %(id)s AND wait.topic = %(topic)s AND wait.status = 'open' AND wait.match_value"
# Of 100,000 waits for this name, those that are for one of the event's values, and those that are for any.
PAIRS_OF_EVENT = f"""
{_OPEN_PAIRS} = ANY(%(values)s) UNION ALL {_OPEN_PAIRS} IS NULL
ORDER BY run_id, waited_at, key
"""

# Nothing that arrived after `since` was written an hour before it: so much of an index is enough.
PAIRS_OF_WAIT = f"""{_PAIRS} AND wait.run_id = %s AND wait.key = %s AND wait.status || '' = 'open'
  AND event.created_at >= wait.since - interval '1 hour'
  AND (event.matched_at IS NULL OR wait.scanned_at IS NULL)
ORDER BY event.created_at, event.id
"""

# Of these waits, those that an older event may end: its own look, or that of the wait, is yet to come.
BEHIND = """
WITH mine AS (SELECT id, created_at FROM event WHERE id = %(event_id)s), older AS MATERIALIZED (
  SELECT event.topic FROM event, mine
  WHERE event.matched_at IS NULL AND (event.created_at, event.id) < (mine.created_at, mine.id))
SELECT DISTINCT run_id, key
FROM wait JOIN unnest(%(runs)s::uuid[], %(keys)s::text[]) AS fit (run_id, key) USING (run_id, key)
WHERE wait.status || '' = 'open' AND (scanned_at IS NULL OR topic IN (SELECT topic FROM older))
"""

LOCK_RUNS = "SELECT id FROM run WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE"
PATIENCE = "SET LOCAL lock_timeout = '300ms'"  # a checkpoint takes a millisecond; a frozen process may take for ever

TAKE = """
UPDATE wait SET status = CASE WHEN wait.topic = %(topic)s THEN 'matched' ELSE 'closed' END,
                event_id = CASE WHEN wait.topic = %(topic)s THEN %(event_id)s::uuid END
FROM unnest(%(runs)s::uuid[], %(keys)s::text[]) AS mine (run_id, key)
WHERE wait.run_id = mine.run_id AND wait.key = mine.key AND wait.status || '' = 'open' AND NOT EXISTS (
  SELECT FROM wait AS taken
  WHERE taken.run_id = mine.run_id AND taken.kind = 'event' AND taken.event_id = %(event_id)s::uuid)
RETURNING wait.run_id
"""

SPOIL = "UPDATE wait SET status = 'failed', error = %s WHERE run_id = %s AND key = %s AND wait.status || '' = 'open'"
# A debounce may put another wait under the same key during the look: that one's look is yet to come.
UNSCANNED = "SELECT array_agg(created_at) FROM wait WHERE run_id = %s AND key = %s AND scanned_at IS NULL"
SCANNED = "UPDATE wait SET scanned_at = engine_now() WHERE run_id = %s AND key = %s AND created_at = ANY(%s)"

# Most events end no wait: one statement says so. Losing it in a crash only means another look.
NOBODY_WAITS = """
UPDATE event SET matched_at = engine_now()
WHERE id = ANY(%s) AND matched_at IS NULL
  AND NOT EXISTS (SELECT FROM wait WHERE wait.topic = event.topic AND wait.status = 'open')
RETURNING id
"""
IN_ORDER = "SELECT id, topic FROM event WHERE id = ANY(%s) ORDER BY created_at, id"
MATCHED = "UPDATE event SET matched_at = engine_now() WHERE id = %s AND matched_at IS NULL"

FORGOTTEN_EVENTS = """
SELECT id FROM event WHERE matched_at IS NULL AND created_at < engine_now() - %s * interval '1 second'
ORDER BY created_at LIMIT %s
"""
FORGOTTEN_WAITS = "SELECT DISTINCT run_id, key FROM wait WHERE scanned_at IS NULL AND status = 'open' LIMIT %s"


@dataclass(frozen=True)
class Wanted:
    """What a step waits for: events of one of these names, of the run's owner, that match."""

    names: tuple[str, ...]
    match: str | None
    condition: str | None
    seconds: float
    since: datetime | None

    def row(self, execution: Execution, key: str) -> dict[str, Any]:
        """Return the values of its row.

        Raises:
            ExpressionError: its condition is malformed, or the run's own event has nothing at the path to be matched.
        """
        run, event = execution.run, execution.loaded.event
        if self.condition is not None:
            expressions.check(self.condition, ("event", "arriving"))
        path, value = expressions.matching(self.match, event.data)
        if self.match is not None and value is None:
            raise ExpressionError(f"The event of this run has no {self.match}: there is nothing to match by.")
        topics = sorted(store_events.topic(run.owner_id, name) for name in set(self.names))
        fence = {"run_id": run.id, "epoch": run.epoch, "key": key}
        return {**vars(self), **fence, "topics": topics, "path": path, "value": value}


@dataclass(frozen=True)
class State:
    """How a wait stands. `event_id` ended it; `error` spoilt it."""

    key: str
    status: str
    due_at: datetime
    event_id: UUID | None
    error: str | None
    is_fresh: bool


@dataclass(frozen=True)
class _Pair:
    """A wait, and an event that may end it."""

    run_id: UUID
    key: str
    topic: str
    kind: str
    match_path: list[str] | None
    match_value: str | None
    condition: str | None
    event_id: UUID
    name: str
    data: Any
    owner_id: UUID | None
    cause_id: UUID | None
    cause_name: str | None
    cause_data: Any
    waited_at: datetime


def outcome(execution: Execution, key: str, wanted: Wanted) -> dict[str, Any] | None:
    """Return the event that this step waits for, as JSON, or None at its timeout.

    Raises:
        Park: neither has happened yet.
        ExpressionError: what it waits for is malformed, or cannot be evaluated.
        LostLease: the run belongs to another worker.
    """
    state = _look_at(execution, key, wanted)
    if state.status == "open":
        raise Park(state.due_at)
    if state.error is not None:
        raise ExpressionError(state.error)
    if state.event_id is None:
        return None
    with runtime().pool.connection() as connection:
        event = row_of(Event, connection, store_events.LOAD_EVENT, [state.event_id])
    return None if event is None else event.as_memo()


def _look_at(execution: Execution, key: str, wanted: Wanted) -> State:
    """Return how the wait of this step stands; the first time, register it and look back over the events."""
    run_id = execution.run.id
    # The lock of `once` before a connection, as in children: in the other order all connections could wait for it.
    known: dict[str, State] = execution.once("waits", lambda: _load_states(run_id))
    with runtime().pool.connection() as connection:
        state: State | None = known.get(key)
        if state is None:
            connection.execute(REGISTER, wanted.row(execution, key))
            state = _state(connection, run_id, key)
        if state is not None and state.status == "open" and (state.is_fresh or state.due_at <= execution.now()):
            look_back(connection, run_id, key)
            state = _state(connection, run_id, key)
        if state is None:
            raise LostLease(run_id)
        if state.status == "open" and state.due_at <= execution.now():
            connection.execute(TIME_OUT, {"run_id": run_id, "key": key})
            state = _state(connection, run_id, key) or state
        return state


def look_back(connection: Connection, run_id: UUID, key: str) -> None:
    """End a wait by the oldest event that matches it and whose look, or the wait's own, is yet to come."""
    [[seen]] = connection.execute(UNSCANNED, [run_id, key]).fetchall()
    for pair in rows_of(_Pair, connection, PAIRS_OF_WAIT, [run_id, key]):
        fits = _fits(connection, pair)
        if fits is None or (fits and _take(connection, [pair]) is None):
            return  # its run is locked by a process that froze: upkeep looks again
        if fits:
            state = _state(connection, run_id, key)
            if state is None or state.status != "open":
                break  # else its run has taken this event before
    connection.execute(SCANNED, [run_id, key, seen])


def look_for_waits(ids: Iterable[UUID], seconds: float = math.inf) -> None:
    """End the waits that these events end, oldest event first; call it after their commit. Never raises.

    What cannot be done now (a run is locked by a process that froze, the database is away), or not in so many
    `seconds`, upkeep does.
    """
    try:
        with bearing_with_database(logger, "waits.database_away"), runtime().pool.connection() as connection:
            _look_for_waits(connection, list(ids), time.monotonic() + seconds)
    except Exception:  # noqa: BLE001  (after a commit, which nothing may make look like a failure)
        logger.exception("waits.look_failed")


def look_for_forgotten(connection: Connection) -> None:
    """Do the looks of processes that died between their commit and their look."""
    events = connection.execute(FORGOTTEN_EVENTS, [SETTLED_SECONDS, BATCH]).fetchall()
    _look_for_waits(connection, [row[0] for row in events])
    for run_id, key in connection.execute(FORGOTTEN_WAITS, [BATCH]).fetchall():
        look_back(connection, run_id, key)


def _look_for_waits(connection: Connection, ids: list[UUID], until: float = math.inf) -> None:
    done = {row[0] for row in connection.execute(NOBODY_WAITS, [ids]).fetchall()} if ids else set()
    left = [event_id for event_id in ids if event_id not in done]
    for event_id, topic in connection.execute(IN_ORDER, [left]).fetchall() if left else ():
        data = connection.execute("SELECT data FROM event WHERE id = %s", [event_id]).fetchall()[0][0]
        values = {"id": event_id, "topic": topic, "values": expressions.fingerprints(data)}
        queues: dict[tuple[UUID, str], list[_Pair]] = {}
        is_whole = True
        for pair in rows_of(_Pair, connection, PAIRS_OF_EVENT, values):
            fits = _fits(connection, pair)
            is_whole &= fits is not None
            if fits:
                queues.setdefault((pair.run_id, "" if pair.kind == "event" else pair.key), []).append(pair)
        for run_id, key in _behind(connection, event_id, queues.values()):
            if time.monotonic() < until:
                look_back(connection, run_id, key)
        if _take_each(connection, list(queues.values()), until) and is_whole:
            connection.execute(MATCHED, [event_id])


def _behind(connection: Connection, event_id: UUID, queues: Iterable[list[_Pair]]) -> Sequence[tuple[UUID, str]]:
    """Return the waits of steps that an older event may end: its sender has died, or is about to look."""
    pairs = [pair for queue in queues for pair in queue if pair.kind == "event"]
    values = {"event_id": event_id, "runs": [pair.run_id for pair in pairs], "keys": [pair.key for pair in pairs]}
    return connection.execute(BEHIND, values).fetchall() if pairs else ()


def _take_each(connection: Connection, queues: list[list[_Pair]], until: float) -> bool:
    """End the first wait of each queue by their one event; false when some of the runs were locked, or time is up.

    Of several waits of a run, the oldest gets the event: the next one, when another event has just ended that.
    """
    while pairs := [queue.pop(0) for queue in queues if queue]:
        served: set[UUID] = set()
        for start in range(0, len(pairs), BATCH):
            ended = _take(connection, pairs[start : start + BATCH]) if time.monotonic() < until else None
            if ended is None:
                return False
            served |= ended
        queues = [queue for queue in queues if queue and queue[0].run_id not in served]
    return True


def _take(connection: Connection, pairs: Sequence[_Pair]) -> set[UUID] | None:
    """End these waits by their one event, and wake or cancel their runs.

    Returns the runs whose step has got the event, or None when some of the runs were locked.
    """
    event = pairs[0]
    runs = sorted({pair.run_id for pair in pairs if pair.kind == "event"})
    with connection.transaction():
        locked = _lock_runs(connection, runs)
        mine = [pair for pair in pairs if pair.run_id in locked and pair.kind == "event"]
        ended = _close(connection, event, mine)
        after = After()
        after.queued(store.wake(connection, ended))
    after.tell()
    is_whole = all([_cancel(connection, pair) for pair in pairs if pair.kind == "cancel"])  # noqa: C419  (each of them)
    return set(ended) if is_whole and len(locked) == len(runs) else None


def _close(connection: Connection, event: _Pair, pairs: Sequence[_Pair]) -> list[UUID]:
    """End these waits in the caller's transaction, which has locked their runs; returns the runs whose waits ended."""
    values = {"topic": event.topic, "event_id": event.event_id}
    values |= {"runs": [pair.run_id for pair in pairs], "keys": [pair.key for pair in pairs]}
    return [row[0] for row in connection.execute(TAKE, values).fetchall()]


def _lock_runs(connection: Connection, ids: list[UUID]) -> set[UUID]:
    """Lock runs in the caller's transaction; those of a frozen process are left out."""
    try:
        with connection.transaction():
            connection.execute(PATIENCE)
            return {row[0] for row in connection.execute(LOCK_RUNS, [ids]).fetchall()}
    except psycopg.errors.LockNotAvailable:
        return {row[0] for row in connection.execute(f"{LOCK_RUNS} SKIP LOCKED", [ids]).fetchall()}


def _cancel(connection: Connection, pair: _Pair) -> bool:
    """Cancel the run that is not to survive this event, in one transaction with the end of its wait.

    False when somebody keeps the run, or one of its limits, locked: nobody else's wait is to stand behind that.
    """
    after = After(topics={f"run:{pair.run_id}"})
    try:
        with connection.transaction():
            connection.execute(PATIENCE)
            run = endings.lock(connection, [pair.run_id]).get(pair.run_id)
            if _close(connection, pair, [pair]) and run is not None and run.status not in FINAL:
                after.add(endings.cancel(connection, run, f"Cancelled by the event {pair.name}.").after)
    except psycopg.errors.LockNotAvailable:
        return False
    after.tell()
    return True


def _fits(connection: Connection, pair: _Pair) -> bool | None:
    """Tell whether the event ends the wait; a condition that cannot be evaluated fails its run only. None: locked."""
    path, data = pair.match_path, pair.data
    if path and data is not None and expressions.fingerprint(expressions.at(path, data)) != pair.match_value:
        return False
    if pair.condition is None:
        return True
    names = {
        "event": store_events.as_names(pair.cause_id, pair.cause_name, pair.cause_data, pair.owner_id),
        "arriving": store_events.as_names(pair.event_id, pair.name, pair.data, pair.owner_id),
    }
    try:
        return bool(expressions.evaluate(pair.condition, names))
    except ExpressionError as error:
        logger.info("wait.condition_failed", run_id=str(pair.run_id), step=pair.key, error=str(error))
        if pair.kind == "event":
            with connection.transaction():
                if not _lock_runs(connection, [pair.run_id]):
                    return None
                connection.execute(SPOIL, [str(error), pair.run_id, pair.key])
                store.wake(connection, [pair.run_id])
        return False


def _load_states(run_id: UUID) -> dict[str, State]:
    with runtime().pool.connection() as connection:
        return _states(connection, run_id)


def _state(connection: Connection, run_id: UUID, key: str) -> State | None:
    return _states(connection, run_id, key).get(key)


def _states(connection: Connection, run_id: UUID, key: str | None = None) -> dict[str, State]:
    return {state.key: state for state in rows_of(State, connection, STATES, [run_id, key])}
