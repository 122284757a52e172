"""SQL on one run: claim, load, checkpoint, park, finish. What a worker writes of its run is fenced by the run's epoch.

Not so what others do to a run whoever has it: wake it, ask it to stop, end its waits. That compares statuses under the
run's lock. Lock order everywhere: flow keys (sorted), then runs by id, then waits.
"""

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from app.engine import store_flows
from app.engine.registry import registry
from app.engine.runtime import Connection, runtime
from app.engine.store_events import LOAD_EVENT, Event
from app.lib.changes import Change
from app.lib.direct import DirectConnection
from app.lib.rows import row_of, rows_of

BODY = ""  # the key under which a run's deferrals outside any step are kept

_RUN_COLUMNS = """id, workflow, version, owner_id, subject, event_id, epoch, wake_seq, attempt, flow_a, flow_b,
  parent_run, edited, idempotency_key, requested, progress, meta IS NOT NULL AS has_meta, trace, created_at, sort_at,
  recoveries, engine_now() AS claimed_at"""

_TAKE = """
UPDATE run SET status = 'running', epoch = epoch + 1, lease_until = engine_now() + %(lease)s * interval '1 second',
               worker = %(worker)s, due_at = NULL, started_at = coalesce(started_at, engine_now()),
               deadline_at = CASE WHEN started_at IS NULL THEN engine_now() + finish_seconds * interval '1 second'
                                  ELSE deadline_at END
"""

# One more thing that each claim asks for: the runs of a paused workflow are queued, and stay so.
IS_NOT_PAUSED = "workflow NOT IN (SELECT workflow FROM pause)"

# An array: without knowing the limit, the planner would expect a tenth of all runs, and read all.
CLAIM = f"""
{_TAKE} WHERE id = ANY(ARRAY(
  SELECT free.id FROM ({{ready}}) AS ready CROSS JOIN LATERAL (
    SELECT id FROM run WHERE id = ready.id AND status = 'queued' AND held_by IS NULL AND {IS_NOT_PAUSED}
    FOR UPDATE SKIP LOCKED) AS free
  ORDER BY ready.sort_at, ready.id LIMIT %(limit)s))
RETURNING {_RUN_COLUMNS}
"""  # noqa: S608  (constant text)

CLAIM_THESE = f"""
{_TAKE} WHERE id IN (
  SELECT id FROM run
  WHERE id = ANY(%(ids)s) AND status = 'queued' AND held_by IS NULL AND (flow_a IS NULL OR %(admitted)s)
    AND workflow = ANY(%(workflows)s) AND {IS_NOT_PAUSED}
  ORDER BY id FOR UPDATE SKIP LOCKED)
RETURNING {_RUN_COLUMNS}
"""  # noqa: S608  (constant text)

LOAD_STEPS = "SELECT key, kind, status, position, output, blob_id, error, size_bytes, meta FROM step WHERE run_id = %s"

LOAD_ATTEMPTS = """
SELECT key, number, is_deferral, started_at, retry_at FROM step_attempt WHERE run_id = %s ORDER BY key, number
"""

# The last statement before COMMIT; its values are those of NewMemo. Without FOR SHARE a stale worker's memo slips past
# a take-over that is not committed yet. Nothing touches the run after it in its transaction: share-then-update
# deadlocks.
CHECKPOINT = """
WITH fence AS (
  SELECT id, requested FROM run WHERE id = $1::uuid AND epoch = $2::int AND status = 'running' FOR SHARE
), memo AS (
  INSERT INTO step (run_id, key, kind, status, position, input, output, blob_id, error, size_bytes, meta,
                    started_at, finished_at)
  SELECT id, $3::text, $4::text, $5::text, $6::int[], $7::json, $8::json, $9::uuid, $10::json, $11::int, $13::json,
         engine_now() - $12::float8 * interval '1 second', engine_now()
  FROM fence ON CONFLICT DO NOTHING RETURNING run_id
)
SELECT fence.requested FROM memo, fence
"""

# Of a step with a timeout: no memo of a try that is recorded as failed. (Looking for it costs a third of a checkpoint.)
CHECKPOINT_OF_TRY = CHECKPOINT.replace(
    "FOR SHARE",
    """AND NOT EXISTS (SELECT FROM step_attempt
    WHERE run_id = $1::uuid AND key = $3::text AND number >= $14::int) FOR SHARE""",
)

# One statement, one snapshot: whose run it is, and what is remembered under the key.
WHOSE = """
SELECT run.epoch, run.status, step.key IS NOT NULL AS is_remembered
FROM run LEFT JOIN step ON step.run_id = run.id AND step.key = %(key)s WHERE run.id = %(run_id)s::uuid
"""

RECORD_ATTEMPT = """
INSERT INTO step_attempt (run_id, key, number, is_deferral, error, started_at, finished_at, retry_at)
SELECT id, %(key)s, %(number)s, %(is_deferral)s, %(error)s::json, %(started_at)s, engine_now(),
       engine_now() + %(pause)s * interval '1 second'
FROM run WHERE id = %(run_id)s AND epoch = %(epoch)s AND status = 'running' FOR SHARE
ON CONFLICT (run_id, key, number) DO UPDATE SET started_at = excluded.started_at, error = excluded.error,
  finished_at = excluded.finished_at, retry_at = excluded.retry_at
  WHERE step_attempt.is_deferral AND step_attempt.retry_at = %(retry_at)s
RETURNING retry_at
"""

_LEAVE = """
UPDATE run SET status = %(status)s, lease_until = NULL, worker = NULL, active = NULL,
               due_at = %(due_at)s, attempt = attempt + %(failed)s::boolean::int,
               requested = CASE %(status)s WHEN 'paused' THEN NULL ELSE requested END,
               progress = coalesce(%(progress)s::json, progress), meta = coalesce(%(meta)s::json, meta)
WHERE id = %(run_id)s AND epoch = %(epoch)s AND status = 'running'
"""
LEAVE = {
    "waiting": f"{_LEAVE} AND wake_seq = %(wake_seq)s AND requested IS NULL RETURNING id",
    "queued": f"{_LEAVE} RETURNING id",
    "paused": f"{_LEAVE} AND requested = 'pause' RETURNING id",
}

# Moves wake_seq also of a running run, so that one about to park goes round again instead. A waiting one's place in the
# queue is that of now: with the end of what it waited for, a year away, all others would go before it.
WAKE = """
UPDATE run SET wake_seq = wake_seq + 1, status = CASE status WHEN 'waiting' THEN 'queued' ELSE status END,
               sort_at = CASE status WHEN 'waiting' THEN least(due_at, engine_now()) ELSE sort_at END, due_at = NULL
WHERE id IN (
  SELECT id FROM run WHERE id = ANY(%s) AND status IN ('waiting', 'running') ORDER BY id FOR NO KEY UPDATE)
RETURNING workflow, id, status
"""

FINISH = """
UPDATE run SET status = %(status)s, output = %(output)s::json, error = coalesce(%(error)s::json, error),
               reason = coalesce(%(reason)s, reason), lease_until = NULL, worker = NULL, due_at = NULL,
               active = CASE %(status)s WHEN 'dead' THEN active END,  -- what killed its workers
               held_by = NULL, requested = NULL, finished_at = engine_now(),
               progress = coalesce(%(progress)s::json, progress), meta = coalesce(%(meta)s::json, meta)
WHERE id = %(run_id)s AND epoch = %(epoch)s AND status = ANY(%(from_statuses)s)
  AND (requested IS DISTINCT FROM 'cancel' OR %(status)s <> 'completed')
  AND (%(status)s <> 'dead' OR lease_until <= engine_now())  -- else its worker has come to itself
RETURNING id
"""

FENCE = "SELECT id FROM run WHERE id = %s AND epoch = %s AND status = 'running' FOR SHARE"

LOOK_AGAIN = "SELECT wake_seq, requested, engine_now() FROM run WHERE id = %s AND epoch = %s AND status = 'running'"


@dataclass(frozen=True)
class RunRow:
    """What of a run whoever ends, cancels or rescues it needs."""

    id: UUID
    workflow: str
    status: str
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
    hook: str | None

    @property
    def flows(self) -> list[str]:
        """Return its flow keys, sorted as they are locked."""
        return sorted(key for key in (self.flow_a, self.flow_b) if key)


RUN_ROW = ", ".join(RunRow.__dataclass_fields__)
SELECT_RUN = f"SELECT {RUN_ROW} FROM run WHERE"  # noqa: S608  (constant text)


@dataclass
class Claimed:
    """A run as its worker claimed it."""

    id: UUID
    workflow: str
    version: int
    owner_id: UUID | None
    subject: str | None
    event_id: UUID
    epoch: int
    wake_seq: int
    attempt: int
    flow_a: str | None
    flow_b: str | None
    parent_run: UUID | None
    edited: dict[str, Any] | None
    idempotency_key: str | None
    requested: str | None
    progress: dict[str, Any] | None
    has_meta: bool
    recoveries: int
    trace: str | None
    created_at: datetime
    sort_at: datetime
    claimed_at: datetime
    read_at: float = field(default_factory=time.monotonic)  # when claimed_at was the database's time

    @property
    def flows(self) -> list[str]:
        """Return its flow keys, sorted as they are locked."""
        return sorted(key for key in (self.flow_a, self.flow_b) if key)


@dataclass
class Memo:
    """A remembered step."""

    key: str
    kind: str
    status: str
    position: list[int]
    output: Any
    blob_id: UUID | None
    error: dict[str, Any] | None
    size_bytes: int
    meta: dict[str, Change] | None = None  # what it did to ctx.meta


@dataclass(frozen=True)
class PastAttempt:
    """A try of a step that did not succeed."""

    key: str
    number: int
    is_deferral: bool
    started_at: datetime
    retry_at: datetime | None


@dataclass(frozen=True)
class Loaded:
    """What a worker reads once when it takes a run up."""

    event: Event
    memos: dict[str, Memo]
    attempts: dict[str, list[PastAttempt]]


class NewMemo(NamedTuple):
    """A step's ending, about to be remembered: the values of CHECKPOINT, in their order."""

    run_id: str
    epoch: int
    key: str
    kind: str
    status: str
    position: str  # a PostgreSQL array literal
    input: str | None
    output: str | None
    blob_id: UUID | None
    error: str | None
    size_bytes: int
    seconds: float  # how long it took
    meta: str | None = None
    number: int | None = None  # of the try, when it has a timeout


class Stored(NamedTuple):
    """What became of a checkpoint: `is_mine` false means stop; `is_new` false means adopt what is remembered."""

    is_mine: bool
    is_new: bool
    requested: str | None = None  # of the run: cancel | pause


def claim(connection: Connection, *, worker: str, lease: float, workflows: list[str], limit: int) -> list[Claimed]:
    """Claim up to `limit` queued runs of these workflows (at least one) without concurrency limits, oldest first."""
    values = {"worker": worker, "lease": lease, "workflows": workflows, "limit": limit}
    return rows_of(Claimed, connection, with_ready(CLAIM, len(workflows), "flow_a IS NULL"), values)


@functools.cache
def with_ready(statement: str, workflows: int, which: str) -> str:
    """Put in the place of {ready} the queued runs of so many workflows, which the statement takes oldest first.

    A walk along an index for each workflow, merged as far as they are read: a single one through the runs of all would
    each time read 100,000 that only other processes can claim (of isolated workflows, or of newer code).
    """
    walk = f"""(SELECT id, sort_at, workflow, flow_a, flow_b FROM run WHERE status = 'queued' AND held_by IS NULL
      AND {which} AND workflow = (%(workflows)s::text[])[{{}}] ORDER BY sort_at, id)"""  # noqa: S608  (constant text)
    return statement.format(ready=" UNION ALL ".join(walk.format(n + 1) for n in range(workflows)))


def claim_these(
    connection: Connection, ids: list[UUID], *, worker: str, lease: float, admitted: bool = False
) -> list[Claimed]:
    """Claim exactly these runs where they are still free; those with limits only when `admitted`.

    Never one of a workflow that this process does not know: during a deploy a hint may reach an older worker.
    """
    workflows = registry.names(isolated=runtime().isolated)
    values = {"worker": worker, "lease": lease, "ids": ids, "admitted": admitted, "workflows": workflows}
    return rows_of(Claimed, connection, CLAIM_THESE, values)


def load(connection: Connection, run: Claimed) -> Loaded:
    """Read the event, memos and failed tries of a run, in statements after the one that claimed it.

    Each has a fresh snapshot: inside the claiming statement, a checkpoint that the claim had to wait for would
    be missed and its paid call repeated.
    """
    with (
        connection.pipeline(),
        connection.cursor(row_factory=class_row(Event)) as events,
        connection.cursor(row_factory=class_row(Memo)) as steps,
        connection.cursor(row_factory=class_row(PastAttempt)) as tries,
    ):
        events.execute(LOAD_EVENT, [run.event_id])
        steps.execute(LOAD_STEPS, [run.id])
        tries.execute(LOAD_ATTEMPTS, [run.id])
        event = events.fetchone()
        memos = {memo.key: memo for memo in steps.fetchall()}
        attempts: dict[str, list[PastAttempt]] = {}
        for past in tries.fetchall():
            attempts.setdefault(past.key, []).append(past)
    if event is None:
        raise LookupError(f"The event {run.event_id} of run {run.id} is gone.")
    return Loaded(event, memos, attempts)


def checkpoint(connection: Connection, memo: NewMemo) -> Stored:
    """Remember a step in the caller's transaction, as its last statement, only while the run is this worker's."""
    statement, values = (CHECKPOINT, memo[:-1]) if memo.number is None else (CHECKPOINT_OF_TRY, memo)
    if isinstance(connection, DirectConnection):
        row: Sequence[Any] | None = connection.first(statement, values)
    else:  # a session's: psycopg may have its transaction yet to begin
        row = psycopg.RawCursor(connection).execute(statement, values).fetchone()
    if row is not None:
        requested = row[0].decode() if isinstance(row[0], bytes) else row[0]
        return Stored(is_mine=True, is_new=True, requested=requested)
    found = connection.execute(WHOSE, {"run_id": memo.run_id, "key": memo.key}).fetchone()
    is_mine = found is not None and found[0] == memo.epoch and found[1] == "running" and found[2]
    return Stored(is_mine=is_mine, is_new=False)


def load_memo(connection: Connection, run_id: UUID, key: str) -> Memo | None:
    """Read one remembered step."""
    return row_of(Memo, connection, f"{LOAD_STEPS} AND key = %s", [run_id, key])


def save_blob(connection: Connection, blob_id: UUID, text: str) -> None:
    """Write a large result, in the transaction of its memo."""
    connection.execute("INSERT INTO blob (id, data) VALUES (%s, %s::json) ON CONFLICT DO NOTHING", [blob_id, text])


def load_blob(connection: Connection, blob_id: UUID) -> Any:
    """Read a large result."""
    row = connection.execute("SELECT data FROM blob WHERE id = %s", [blob_id]).fetchone()
    return None if row is None else row[0]


def record_attempt(
    connection: Connection, run: Claimed, attempt: PastAttempt, error: str, pause: float | None
) -> tuple[bool, datetime | None]:
    """Remember a failed try; returns whether this worker goes on, and when to try again.

    It does not when the run is another one's by now, or a try of this number is there already (it was written twice);
    unless that is a deferral until `attempt.retry_at`, whose place this one takes.
    """
    values = {**vars(attempt), "run_id": run.id, "epoch": run.epoch, "error": error, "pause": pause}
    row = connection.execute(RECORD_ATTEMPT, values).fetchone()
    return (row is not None, None if row is None else row[0])


def leave(connection: Connection, run: Claimed, status: str, **how: Any) -> bool:
    """Leave the status running, under the locks of the run's flow keys; the caller promotes in the transaction.

    To be waiting until `due_at` (`failed`: for its body's next try), unless something woke the run meanwhile (wake_seq
    has moved) or cancels it; to be queued (the next free worker goes on); or to be paused, if somebody still asks for
    that.
    """
    store_flows.lock(connection, run.flows)
    values = {"status": status, "due_at": None, "failed": False, "progress": None, "meta": None, **how}
    fence = {"run_id": run.id, "epoch": run.epoch, "wake_seq": run.wake_seq}
    return connection.execute(LEAVE[status], {**values, **fence}).fetchone() is not None


def look_again(connection: Connection, run: Claimed) -> bool:
    """Take up what has happened to the run since it was claimed; false when it is no longer this worker's."""
    row = connection.execute(LOOK_AGAIN, [run.id, run.epoch]).fetchone()
    if row is None:
        return False
    run.wake_seq, run.requested, run.claimed_at = row
    run.read_at = time.monotonic()
    return True


def wake(connection: Connection, ids: list[UUID]) -> list[tuple[str, str]]:
    """Wake these runs; returns (workflow, run id) of those that are queued now."""
    rows = connection.execute(WAKE, [ids]).fetchall()
    return [(workflow, str(run_id)) for workflow, run_id, status in rows if status == "queued"]
