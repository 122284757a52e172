"""SQL of timekeeping: wake, rescue, repair, forget. Every pass may run anywhere, any number of times at once."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from app.engine.runtime import Connection
from app.engine.schema import RUNS_ON
from app.engine.store import RUN_ROW, SELECT_RUN, RunRow
from app.lib.rows import row_of, rows_of
from app.lib.text import span

# A batch is an array of ids: planned for any limit, IN would expect a tenth of all rows, and read all. The time is that
# of a subquery: engine_now() itself may be another for each row, so no index is read up to it.

# A run that has not started yet (throttled, debounced) keeps its priority, and forgets the reason why it waited.
WAKE_DUE = """
UPDATE run SET wake_seq = wake_seq + 1, status = 'queued', due_at = NULL, reason = NULL,
               sort_at = due_at + CASE WHEN started_at IS NULL THEN sort_at - created_at ELSE interval '0' END
WHERE id = ANY(ARRAY(
  SELECT id FROM run WHERE status IN ('waiting', 'debounced') AND due_at <= (SELECT engine_now())
  ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED))
RETURNING workflow, id
"""

NEXT_DUE = f"""
SELECT extract(epoch FROM least(
  (SELECT min(due_at) FROM run WHERE status IN ('waiting', 'debounced')),
  (SELECT min(lease_until) FROM run WHERE status = 'running'),
  (SELECT min(deadline_at) FROM run WHERE {RUNS_ON}),
  (SELECT min(next_at) FROM schedule WHERE paused_at IS NULL AND workflow = ANY(%s))) - engine_now())
"""  # noqa: S608  (constant text)

OVERDUE = f"""
SELECT {RUN_ROW},
  CASE WHEN started_at IS NULL THEN 'not started within ' ELSE 'not finished within ' END AS cause,
  CASE WHEN started_at IS NULL THEN extract(epoch FROM deadline_at - created_at) ELSE finish_seconds END AS seconds
FROM run WHERE deadline_at <= (SELECT engine_now()) AND {RUNS_ON}
"""  # noqa: S608  (constant text)
# Asked to end, and given back before: nobody can claim it while its workflow is paused, its key full or its code gone.
UNHEEDED = f"""
SELECT {RUN_ROW}, coalesce(reason, '') AS cause, NULL AS seconds
FROM run WHERE status = 'queued' AND requested = 'cancel'
"""  # noqa: S608  (constant text)
ORPHANED = f"""
SELECT {RUN_ROW}, 'the run that it belongs to did not complete' AS cause, NULL AS seconds
FROM run WHERE is_cancelled_with_parent AND {RUNS_ON} AND requested IS DISTINCT FROM 'cancel'
  AND EXISTS (SELECT FROM run AS above WHERE above.id = run.parent_run
              AND above.status IN ('failed', 'cancelled', 'dead', 'skipped'))
"""  # noqa: S608  (constant text)
# Those whose parent ended just now: 100,000 children whose parents go on cost nothing. Sorted, it goes along an index.
JUST_ORPHANED = f"""
{ORPHANED} AND parent_run = ANY(ARRAY(
  SELECT id FROM run WHERE finished_at > (SELECT engine_now()) - interval '10 seconds' AND status <> 'completed'
  ORDER BY finished_at))
"""  # noqa: S608  (constant text)

EXPIRED = f"""
{SELECT_RUN} status = 'running' AND lease_until <= (SELECT engine_now())
ORDER BY lease_until LIMIT %s
"""

# A take-over without a newly remembered step counts towards dead; a new step starts the count anew.
COUNT_RECOVERY = """
UPDATE run SET recoveries = CASE WHEN steps.number > steps_at_recovery THEN 1 ELSE recoveries + 1 END,
               steps_at_recovery = steps.number
FROM (SELECT count(*) AS number FROM step WHERE run_id = %(id)s) AS steps
WHERE id IN (
  SELECT id FROM run WHERE id = %(id)s AND epoch = %(epoch)s AND status = 'running' AND lease_until <= engine_now()
  FOR NO KEY UPDATE SKIP LOCKED)
RETURNING recoveries
"""

RESCUE = """
UPDATE run SET status = 'queued', lease_until = NULL, worker = NULL, active = NULL
WHERE id = %(id)s AND epoch = %(epoch)s AND status = 'running' RETURNING workflow, id
"""

# From key to key through the index: DISTINCT would read 100,000 runs of one key each second.
HELD_KEYS = """
WITH RECURSIVE keys AS (
  (SELECT held_by FROM run WHERE held_by IS NOT NULL ORDER BY held_by LIMIT 1)
  UNION ALL
  SELECT (SELECT held_by FROM run WHERE held_by > keys.held_by ORDER BY held_by LIMIT 1)
  FROM keys WHERE keys.held_by IS NOT NULL
)
SELECT held_by FROM keys WHERE held_by IS NOT NULL
"""

FORGET = """
DELETE FROM idem WHERE ctid = ANY(ARRAY(
  SELECT ctid FROM idem WHERE expires_at <= (SELECT engine_now())
  ORDER BY expires_at LIMIT %s FOR UPDATE SKIP LOCKED))
"""

FORGET_WORKERS = "DELETE FROM worker WHERE seen_at < engine_now() - interval '1 day'"

SEEN = """
INSERT INTO worker (name, kind, host, pid, threads, busy, workflows, started_at, seen_at)
VALUES (%(name)s, %(kind)s, %(host)s, %(pid)s, %(threads)s, %(busy)s, %(workflows)s, engine_now(), engine_now())
ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at, busy = excluded.busy, workflows = excluded.workflows
"""

# In the order of ids and never waiting: a checkpoint that holds one run must not delay the leases of all others.
# The slot of a lease that has expired may be another run's by now: such a run is not renewed but taken over.
HEARTBEAT = """
UPDATE run SET lease_until = engine_now() + %(lease)s * interval '1 second'
WHERE id IN (
  SELECT run.id FROM run JOIN unnest(%(ids)s::uuid[], %(epochs)s::int[]) AS mine (id, epoch)
    ON mine.id = run.id AND mine.epoch = run.epoch
  WHERE run.status = 'running' AND (run.flow_a IS NULL OR run.lease_until > engine_now())
  ORDER BY run.id FOR NO KEY UPDATE OF run SKIP LOCKED)
RETURNING id
"""

LOOK = "SELECT id, epoch, status, requested FROM run WHERE id = ANY(%s)"

SHOW = """
UPDATE run SET progress = coalesce(%(progress)s::json, progress), meta = coalesce(%(meta)s::json, meta),
               active = %(active)s::json
WHERE id IN (
  SELECT id FROM run WHERE id = %(id)s AND epoch = %(epoch)s AND status = 'running' FOR NO KEY UPDATE SKIP LOCKED)
RETURNING id
"""


def now(connection: Connection) -> datetime:
    """Return the time: the database's, which is the only clock."""
    found: datetime = connection.execute("SELECT engine_now()").fetchall()[0][0]
    return found


def wake_due(connection: Connection, limit: int) -> list[tuple[str, str]]:
    """Wake runs whose time has come; returns (workflow, run id) for hints."""
    return [(workflow, str(run_id)) for workflow, run_id in connection.execute(WAKE_DUE, [limit]).fetchall()]


@dataclass(frozen=True)
class Late(RunRow):
    """A run that time, or the run that it belongs to, ends."""

    cause: str
    seconds: float | None  # the time that it had

    @property
    def why(self) -> str:
        """Return why it is cancelled, for people."""
        return self.cause + (span(float(self.seconds)) if self.seconds is not None else "")

    @property
    def failure(self) -> dict[str, Any] | None:
        """Return the error of a run that had too little time."""
        return None if self.seconds is None else {"class": "TimedOut", "code": "timed_out", "message": self.why}


def late(connection: Connection, statement: str, limit: int) -> list[Late]:
    """Peek at the runs of OVERDUE, UNHEEDED or ORPHANED.

    In the order of the index of the first one: else the planner thinks that a third of all runs is late, and reads all.
    """
    return rows_of(Late, connection, f"{statement} ORDER BY deadline_at LIMIT %s", [limit])


def lock_late(connection: Connection, statement: str, run_id: UUID) -> Late | None:
    """Lock one of them, if it is still late and nobody else has locked it."""
    return row_of(Late, connection, f"{statement} AND id = %s FOR UPDATE SKIP LOCKED", [run_id])


def heartbeat(connection: Connection, leases: dict[UUID, int], seconds: float) -> set[UUID]:
    """Renew these leases (run id -> epoch); returns those renewed. Others are gone, or locked just now."""
    values = {"ids": list(leases), "epochs": list(leases.values()), "lease": seconds}
    return {row[0] for row in connection.execute(HEARTBEAT, values).fetchall()}


def look(connection: Connection, ids: list[UUID]) -> dict[UUID, tuple[int, str, str | None]]:
    """Return epoch, status and request of these runs."""
    return {row[0]: (row[1], row[2], row[3]) for row in connection.execute(LOOK, [ids]).fetchall()}


def show(connection: Connection, run_id: UUID, epoch: int, values: dict[str, str | None]) -> bool:
    """Write a running run's progress, meta and active steps; false when it is locked or no longer this worker's."""
    return connection.execute(SHOW, {"id": run_id, "epoch": epoch, **values}).fetchone() is not None


def seen(connection: Connection, values: dict[str, Any]) -> None:
    """Say that a worker or upkeep process is alive."""
    connection.execute(SEEN, values)


def upkeep_done(connection: Connection, name: str) -> None:
    """Say that a pass of upkeep was finished."""
    connection.execute("UPDATE worker SET upkeep_at = engine_now() WHERE name = %s", [name])
