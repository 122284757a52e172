r"""The engine's tables, with metadata of their own (the rooms' tables know nothing of them).

States are drawn in docs/state_machine.md. `json`, not `jsonb`: it keeps what was written exactly, also
`\u0000` in a payload, and costs less to write. There are no foreign keys: each checkpoint would pay for
them, and every write here is fenced by the run's epoch already.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSON, TIMESTAMP, UUID

FINAL = ("completed", "failed", "cancelled", "dead", "skipped")
RUN_STATUSES = ("queued", "running", "waiting", "paused", "debounced", *FINAL)
RUNS_ON = "status IN ('queued', 'running', 'waiting', 'paused', 'debounced')"
STEP_STATUSES = ("completed", "failed")

TIME = TIMESTAMP(timezone=True)
NAMES = {"uq": "uq_%(table_name)s_%(column_0_N_name)s", "ck": "ck_%(table_name)s_%(constraint_name)s"}
metadata = sa.MetaData(naming_convention={**NAMES, "ix": "ix_%(column_0_N_label)s", "pk": "pk_%(table_name)s"})


def _keys(kind: Any, *names: str) -> list[sa.Column[Any]]:
    """Return columns of the primary key."""
    return [sa.Column(name, kind, primary_key=True) for name in names]


def _must(kind: Any, *names: str, default: str | None = None) -> list[sa.Column[Any]]:
    """Return columns that are never null."""
    return [sa.Column(name, kind, nullable=False, server_default=default) for name in names]


def _may(kind: Any, *names: str) -> list[sa.Column[Any]]:
    """Return columns that may be null."""
    return [sa.Column(name, kind) for name in names]


def _one_of(column: str, *values: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(f"{column} IN ({', '.join(repr(value) for value in values)})", name=column)


def _table(name: str, *parts: sa.Column[Any] | sa.CheckConstraint) -> sa.Table:
    return sa.Table(name, metadata, *parts)


def _index(name: str, table: sa.Table, columns: str, where: str | None = None, *, unique: bool = False) -> None:
    partial = None if where is None else sa.text(where)
    sa.Index(name, *(table.c[column] for column in columns.split()), unique=unique, postgresql_where=partial)


event = _table(
    "event",
    *_keys(UUID, "id"),
    *_must(sa.Text, "name"),
    *_must(JSON, "data"),
    *_may(UUID, "owner_id"),  # null: the system
    *_must(sa.Text, "topic"),  # owner and name in one: what waits look for
    *_may(sa.Text, "trace"),  # the W3C traceparent of whoever sent it
    *_may(TIME, "occurred_at"),  # its own time, where the sender said one
    *_may(TIME, "matched_at"),  # null: the waits that it may end have not been looked through yet
    *_must(TIME, "created_at"),
)
# The events that a new wait looks back over (waits.look_back).
_index("ix_event_topic", event, "topic created_at")
# Events whose sender died before it had looked for waits (waits.look_for_forgotten).
_index("ix_event_unmatched", event, "created_at", "matched_at IS NULL")

run = _table(
    "run",
    *_keys(UUID, "id"),
    *_must(sa.Text, "workflow", "status"),
    *_must(sa.Integer, "version"),
    *_may(UUID, "owner_id"),
    *_may(sa.Text, "subject"),  # what the run is about, for example video:<id>
    *_must(UUID, "event_id"),
    *_must(sa.Text, "event_name"),
    *_may(UUID, "parent_run"),  # of a hook run: the run that ended badly; of an invoked one: the run that waits
    *_may(sa.Text, "parent_step"),  # of an invoked run: the key under which its parent waits
    *_must(sa.Boolean, "is_cancelled_with_parent", default="false"),
    *_may(UUID, "forked_from"),  # of a rerun: the run whose memos it copied
    *_may(JSON, "edited"),  # of a rerun: {"step": key, "input": [...]}
    *_may(sa.Text, "idempotency_key", "singleton_key", "debounce_key"),
    *_may(sa.Text, "trace"),  # the W3C traceparent that its spans hang from
    # Ownership: a checkpoint counts only while epoch and status are as the worker claimed them.
    *_must(sa.Integer, "epoch", "wake_seq", default="0"),
    *_may(TIME, "lease_until"),
    *_may(sa.Text, "worker", "requested"),
    # Queueing.
    *_may(TIME, "due_at"),
    *_must(TIME, "sort_at"),
    *_may(sa.Text, "flow_a", "flow_b"),
    *_may(sa.Text, "held_by"),  # the full flow key, or paused workflow, for which the run stands aside
    *_may(TIME, "deadline_at"),  # of its start, and once it has started of its end: then it is cancelled
    *_may(sa.Double, "finish_seconds"),  # from its start to its end at most
    *_may(TIME, "debounce_until"),  # later events put it off no further than this
    # Counts.
    *_must(sa.Integer, "attempt", default="0"),  # failed tries of the body itself
    *_must(sa.Integer, "recoveries", default="0"),  # take-overs in a row without a new step
    *_must(sa.Integer, "steps_at_recovery", default="0"),
    # What people see.
    *_may(JSON, "progress", "meta", "output", "error"),
    *_may(JSON, "active"),  # steps that have been executing for a while: {key: started_at}
    *_may(sa.Text, "reason"),
    *_must(TIME, "created_at"),
    *_may(TIME, "started_at", "finished_at"),
    _one_of("status", *RUN_STATUSES),
    _one_of("requested", "cancel", "pause"),
    sa.CheckConstraint("(status = 'running') = (lease_until IS NOT NULL)", name="lease"),
    sa.CheckConstraint("status NOT IN ('waiting', 'debounced') OR due_at IS NOT NULL", name="due"),
    sa.CheckConstraint("held_by IS NULL OR status = 'queued'", name="held"),
)
_CLAIMABLE = "status = 'queued' AND held_by IS NULL"
_IN_FLOW = "IS NOT NULL AND status IN ('queued', 'running')"
# Claim runs without a limit, oldest first (store.claim).
_index("ix_run_claim", run, "sort_at id", f"{_CLAIMABLE} AND flow_a IS NULL")
# Peek at runs with a limit, oldest first (store_admission.candidates).
_index("ix_run_claim_flow", run, "sort_at id", f"{_CLAIMABLE} AND flow_a IS NOT NULL")
# Count the running runs of a flow key, and set its queued ones aside (store_admission.admit).
_index("ix_run_flow_a", run, "flow_a status sort_at id", f"flow_a {_IN_FLOW}")
_index("ix_run_flow_b", run, "flow_b status sort_at id", f"flow_b {_IN_FLOW}")
# Promote the oldest run held by a key (store_admission.promote).
_index("ix_run_held", run, "held_by sort_at id", "held_by IS NOT NULL")
# Wake due runs (store_upkeep.wake_due).
_index("ix_run_due", run, "due_at", "status IN ('waiting', 'debounced')")
# Cancel runs that have passed their deadline (store_upkeep).
_index("ix_run_deadline", run, "deadline_at", f"deadline_at IS NOT NULL AND {RUNS_ON}")
# Find the run that a further event puts off, and the one that stands for all of its key (starting).
_index("ix_run_debounce", run, "debounce_key", "status = 'debounced'", unique=True)
_index("ix_run_singleton", run, "singleton_key", f"singleton_key IS NOT NULL AND {RUNS_ON}")
# Find an invoked run by its parent's step, and those that end with their parent (steps.invoke, upkeep).
_index("ix_run_parent", run, "parent_run parent_step", "parent_run IS NOT NULL")
_index("ix_run_cascade", run, "parent_run", f"is_cancelled_with_parent AND {RUNS_ON}")
# Delete what ended long ago (retention).
_index("ix_run_finished", run, "finished_at", "finished_at IS NOT NULL")
# Walk through the runs that started from one event (reads, retention).
_index("ix_run_event", run, "event_id")
# Rescue runs whose lease has expired (store_upkeep.expired).
_index("ix_run_lease", run, "lease_until", "status = 'running'")
# Lists, newest first: of one owner, of one subject, of all (reads.list_runs).
_index("ix_run_owner", run, "owner_id id")
_index("ix_run_subject", run, "subject id", "subject IS NOT NULL")
_index("ix_run_workflow", run, "workflow id")
# Count those that have not ended, without reading them (metrics).
_index("ix_run_open", run, "workflow status", RUNS_ON)

step = _table(
    "step",
    *_keys(UUID, "run_id"),
    *_keys(sa.Text, "key"),
    *_must(sa.Text, "kind", "status"),
    # Where the step stands in the body: the number of its verb, then per branch its number and the verb in it.
    *_must(ARRAY(sa.Integer), "position"),
    *_may(JSON, "input", "output", "error"),
    *_may(UUID, "blob_id"),  # a result over 256 KiB, so that loading a run's memos stays cheap
    *_must(sa.Integer, "size_bytes", default="0"),
    *_may(JSON, "meta"),  # what the step did to ctx.meta: done again, in memory, on each replay
    *_must(TIME, "started_at", "finished_at"),
    _one_of("status", *STEP_STATUSES),
)

# Tries of a step that did not succeed. A deferral (RetryAfter) costs no attempt.
step_attempt = _table(
    "step_attempt",
    *_keys(UUID, "run_id"),
    *_keys(sa.Text, "key"),
    *_keys(sa.Integer, "number"),
    *_must(sa.Boolean, "is_deferral"),
    *_must(JSON, "error"),
    *_must(TIME, "started_at", "finished_at"),
    *_may(TIME, "retry_at"),  # null: the last one
)

# One row per key of a limit: the lock under which slots are counted, and starts are spaced. `arrival_at`, of a throttle
# or rate limit, is the theoretical arrival time of GCRA.
flow = _table("flow", *_keys(sa.Text, "key"), *_may(TIME, "arrival_at"))

# What a run waits for, or is cancelled by: one row per name (waits).
wait = _table(
    "wait",
    *_keys(UUID, "run_id"),
    *_keys(sa.Text, "key", "topic"),  # the key of the step, or cancel:<n>
    *_must(sa.Text, "kind"),
    *_must(sa.Text, "status", default="open"),
    *_may(ARRAY(sa.Text), "match_path"),  # into the arriving event: {data,course_id}
    *_may(sa.Text, "match_value"),  # the MD5 of what must be there
    *_may(sa.Text, "condition"),  # or an expression over event and arriving
    *_must(TIME, "since"),  # events from before this do not count
    *_may(TIME, "due_at"),
    *_may(UUID, "event_id"),  # that ended it
    *_may(sa.Text, "error"),  # what is wrong with its condition
    *_may(TIME, "scanned_at"),  # null: the events that came before it have not been looked through yet
    *_must(TIME, "created_at"),
    _one_of("kind", "event", "cancel"),
    _one_of("status", "open", "matched", "timed-out", "closed", "failed"),
)
# The waits that an event may end (waits.look_for_waits).
_index("ix_wait_topic", wait, "topic match_value", "status = 'open'")
# Waits whose worker died before it had looked back (waits.look_for_forgotten).
_index("ix_wait_unscanned", wait, "created_at", "scanned_at IS NULL AND status = 'open'")
# A run takes an event once.
_index("ix_wait_taken", wait, "run_id event_id", "kind = 'event' AND event_id IS NOT NULL", unique=True)

# One row per workflow with a cron expression.
_SCHEDULE = [*_keys(sa.Text, "workflow"), *_must(sa.Text, "cron"), *_must(TIME, "next_at")]
schedule = _table("schedule", *_SCHEDULE, *_may(TIME, "last_at", "paused_at"))

# Workflows whose runs are held; their events are kept.
pause = _table("pause", *_keys(sa.Text, "workflow"), *_must(TIME, "paused_at"))

# What steps write to ctx.stream(name): a further attempt begins anew.
stream = _table(
    "stream",
    *_keys(UUID, "run_id"),
    *_keys(sa.Text, "name"),
    *_keys(sa.Integer, "seq"),
    *_must(sa.Integer, "attempt"),
    *_must(sa.Text, "text"),
    *_must(TIME, "written_at"),
)

# What ctx.log says.
log = _table(
    "log",
    *_keys(UUID, "run_id", "id"),
    *_may(sa.Text, "step"),
    *_must(sa.Text, "level", "message"),
    *_may(JSON, "fields"),
    *_must(TIME, "logged_at"),
)

# What was seen in the last 24 hours: event ids and idempotency keys; `holder` is the event or run that has the key.
idem = _table("idem", *_keys(sa.Text, "scope", "key"), *_must(UUID, "holder"), *_must(TIME, "expires_at"))
# Forget what has expired (store_upkeep.FORGET).
_index("ix_idem_expires", idem, "expires_at")

blob = _table("blob", *_keys(UUID, "id"), *_must(JSON, "data"))

worker = _table(
    "worker",
    *_keys(sa.Text, "name"),
    *_must(sa.Text, "kind", "host"),
    *_must(sa.Integer, "pid", "threads"),
    *_must(sa.Integer, "busy", default="0"),
    *_must(TIME, "started_at", "seen_at"),
    *_may(TIME, "upkeep_at"),  # when it last finished a pass of upkeep
    *_may(ARRAY(sa.Text), "workflows"),  # which it can advance
    _one_of("kind", "worker", "isolated", "upkeep"),
)

# The database's clock is the only clock; tests move it by a setting that nothing else sets.
ENGINE_NOW = """
CREATE OR REPLACE FUNCTION engine_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
  SELECT clock_timestamp()
    + coalesce(nullif(current_setting('throughline.clock_offset', true), '')::interval, interval '0')
$$
"""


def create_schema(connection: sa.Connection) -> None:
    """Create the engine's tables and `engine_now()` in the database of `connection`; the caller commits."""
    connection.execute(sa.text(ENGINE_NOW))
    metadata.create_all(connection)
