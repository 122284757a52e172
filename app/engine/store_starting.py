"""SQL that starts runs, under the keys of their limits; what is decided stands in `starting`."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from app.engine import store_flows
from app.engine.options import RateLimit, Throttle, spacing
from app.engine.runtime import FROZEN_SECONDS, Connection
from app.engine.schema import RUNS_ON
from app.engine.store import SELECT_RUN, RunRow
from app.lib import tracing
from app.lib.rows import many, rows_of


@dataclass(frozen=True)
class NewRun:
    """A run about to be written, or just written: then its status says what was decided."""

    id: UUID
    workflow: str
    version: int
    owner_id: UUID | None
    subject: str | None
    event_id: UUID
    event_name: str
    status: str = "queued"
    reason: str | None = None
    flow_a: str | None = None
    flow_b: str | None = None
    idempotency_key: str | None = None
    singleton_key: str | None = None
    debounce_key: str | None = None
    hook: str | None = None
    rate_key: str | None = None  # this one and the next are flow keys, too, but need not be remembered
    throttle_key: str | None = None
    is_successor: bool = False  # of a singleton: it ends the run before it
    parent_run: UUID | None = None
    parent_step: str | None = None
    is_cancelled_with_parent: bool = False
    forked_from: UUID | None = None
    edited: str | None = None
    trace: str | None = field(default_factory=tracing.traceparent)  # a run that an event starts takes the event's
    seconds_ahead: float = 0.0
    start_seconds: float | None = None
    finish_seconds: float | None = None
    due_at: datetime | None = None
    period: float | None = None  # of a debounce, and its timeout
    timeout: float | None = None
    occurred_at: datetime | None = None  # of its event
    cancel_on: tuple[dict[str, Any], ...] = ()

    @property
    def deciding_keys(self) -> list[str]:
        """Return the flow keys under which it is decided whether and when it starts."""
        return [key for key in (self.singleton_key, self.debounce_key, self.rate_key, self.throttle_key) if key]


_WRITTEN = """id workflow version status reason owner_id subject event_id event_name flow_a flow_b idempotency_key
  singleton_key debounce_key hook parent_run parent_step is_cancelled_with_parent forked_from trace finish_seconds"""
_NAMES = _WRITTEN.split()
INSERT_RUN = f"""
INSERT INTO run ({", ".join(_NAMES)}, edited, deadline_at, due_at, debounce_until, sort_at, created_at, finished_at)
SELECT {", ".join(f"%({name})s" for name in _NAMES)}, %(edited)s::json, at + %(start_seconds)s * interval '1 second',
       coalesce(%(due_at)s::timestamptz, at + %(period)s * interval '1 second'), at + %(timeout)s * interval '1 second',
       at - %(seconds_ahead)s * interval '1 second', at, CASE WHEN %(status)s::text = 'skipped' THEN at END
FROM engine_now() AS at
"""  # noqa: S608  (constant text)

# GCRA (generic cell rate algorithm, ITU-T I.371): arrival_at is when the next run would arrive if all were evenly
# spaced. One that comes before its start leaves a rate limit as it was, and takes the next place of a throttle.
ARRIVE = """
UPDATE flow SET arrival_at = CASE WHEN start <= at OR %(is_patient)s
                             THEN arrival + %(gap)s * interval '1 second' ELSE arrival_at END
FROM (SELECT at, arrival, arrival - %(slack)s * interval '1 second' AS start
      FROM flow, engine_now() AS at, greatest(arrival_at, at) AS arrival WHERE key = %(key)s) AS seen
WHERE key = %(key)s RETURNING start, start <= at
"""

# Ordered by the id's text, in the same order: with sorting off (queue_pool.PLANNING), the id itself invites the planner
# to walk along the primary key through all runs.
GOING_ON = f'{SELECT_RUN} singleton_key = ANY(%s) AND {RUNS_ON} ORDER BY id::text COLLATE "C"'

DEBOUNCED = """
SELECT run.id, run.event_id, event.occurred_at FROM run LEFT JOIN event ON event.id = run.event_id
WHERE debounce_key = %s AND status = 'debounced' FOR UPDATE OF run
"""

PUT_OFF = """
UPDATE run SET due_at = least(at + %(period)s * interval '1 second', debounce_until),
               deadline_at = at + %(start_seconds)s * interval '1 second'
FROM engine_now() AS at WHERE id = %(id)s
"""

REPLACE = """
UPDATE run SET version = %(version)s, hook = %(hook)s, subject = %(subject)s,
               event_id = %(event_id)s, event_name = %(event_name)s, flow_a = %(flow_a)s, flow_b = %(flow_b)s,
               finish_seconds = %(finish_seconds)s, sort_at = created_at - %(seconds_ahead)s * interval '1 second'
WHERE id = %(id)s
"""

FORGET_WAITS = "DELETE FROM wait WHERE run_id = %s AND kind = 'cancel'"

# Not from before the run was made; of a debounced run, not from before its last event.
INSERT_WAIT = """
INSERT INTO wait (run_id, key, topic, kind, match_path, match_value, condition, since, created_at)
SELECT run.id, %(key)s, coalesce(run.owner_id::text, '') || ':' || %(event)s, 'cancel', %(path)s::text[], %(value)s,
       %(condition)s, greatest(run.created_at, event.created_at), engine_now()
FROM run LEFT JOIN event ON event.id = run.event_id AND run.status = 'debounced' WHERE run.id = %(run_id)s
"""


def insert(connection: Connection, runs: list[NewRun]) -> None:
    """Write `runs` as they are, and what may cancel them."""
    many(connection, INSERT_RUN, [vars(run) for run in runs])
    insert_waits(connection, runs)


def insert_waits(connection: Connection, runs: list[NewRun]) -> None:
    """Write for which events `runs` are cancelled."""
    many(connection, INSERT_WAIT, [{"run_id": run.id, **row} for run in runs for row in run.cancel_on])


def lock_keys(connection: Connection, runs: list[NewRun]) -> None:
    """Make the rows of all flow keys, and lock those under which something is decided, in one order."""
    deciding = {key for run in runs for key in run.deciding_keys}
    made = {key for run in runs for key in (run.flow_a, run.flow_b) if key}
    if deciding or made:
        connection.execute(store_flows.INSERT, [sorted(deciding | made)])
    if deciding:
        # Those of the runs that a singleton is about to cancel are locked with the others, not after them.
        ending = going_on(connection, [run.singleton_key for run in runs if run.is_successor])
        deciding |= {key for run in ending for key in run.flows}
        # They stop all claims of these keys: if this process freezes now, PostgreSQL ends the transaction.
        connection.execute(f"SET LOCAL idle_in_transaction_session_timeout = {round(1000 * FROZEN_SECONDS)}")
        store_flows.lock(connection, sorted(deciding))


def going_on(connection: Connection, singleton_keys: list[str | None], how: str = "") -> list[RunRow]:
    """Return the runs of these keys that have not ended."""
    return rows_of(RunRow, connection, GOING_ON + how, [singleton_keys]) if any(singleton_keys) else []


def arrive(connection: Connection, key: str, limit: Throttle | RateLimit) -> tuple[datetime, bool]:
    """Return when a run may start under a key, and whether that is now."""
    gap, slack = spacing(limit)
    values = {"key": key, "gap": gap, "slack": slack, "is_patient": isinstance(limit, Throttle)}
    start, is_now = connection.execute(ARRIVE, values).fetchall()[0]
    return start, is_now
