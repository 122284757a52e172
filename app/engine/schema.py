r"""The engine's tables, with metadata of their own (the rooms' tables know nothing of them).

States are drawn in docs/state_machine.md. `json`, not `jsonb`: it keeps what was written exactly, also
`\u0000` in a payload, and costs less to write. There are no foreign keys: each checkpoint would pay for
them, and every write here is fenced by the run's epoch already.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSON, TIMESTAMP, UUID

FINAL = ("completed", "failed", "cancelled", "dead", "skipped")
RUN_STATUSES = ("queued", "running", "waiting", "paused", "debounced", *FINAL)
STEP_STATUSES = ("completed", "failed")

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _one_of(column: str, values: tuple[str, ...]) -> sa.CheckConstraint:
    return sa.CheckConstraint(f"{column} IN ({', '.join(repr(value) for value in values)})", name=column)


def _time(name: str, *, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, TIMESTAMP(timezone=True), nullable=nullable)


event = sa.Table(
    "event",
    metadata,
    sa.Column("id", UUID, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("data", JSON, nullable=False),
    sa.Column("owner_id", UUID),  # null: the system
    sa.Column("topic", sa.Text, nullable=False),  # owner and name in one: what waits look for
    sa.Column("trace", sa.Text),  # the W3C traceparent of whoever sent it
    _time("occurred_at"),  # its own time, where the sender said one
    _time("matched_at"),  # null: the waits that it may end have not been looked through yet
    _time("created_at", nullable=False),
)
# The events that a new wait looks back over (waits.scan).
sa.Index("ix_event_topic", event.c.topic, event.c.id)
# Events whose sender died before it had looked for waits (waits.match_forgotten).
sa.Index("ix_event_unmatched", event.c.created_at, postgresql_where=sa.text("matched_at IS NULL"))

run = sa.Table(
    "run",
    metadata,
    sa.Column("id", UUID, primary_key=True),
    sa.Column("workflow", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("owner_id", UUID),
    sa.Column("subject", sa.Text),  # what the run is about, for example video:<id>
    sa.Column("event_id", UUID, nullable=False),
    sa.Column("event_name", sa.Text, nullable=False),
    sa.Column("parent_run", UUID),  # of a hook run: the run that ended badly; of an invoked one: the run that waits
    sa.Column("parent_step", sa.Text),  # of an invoked run: the key under which its parent waits
    sa.Column("is_cancelled_with_parent", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("forked_from", UUID),  # of a rerun: the run whose memos it copied
    sa.Column("edited", JSON),  # of a rerun: {"step": key, "input": [...]}
    sa.Column("idempotency_key", sa.Text),
    sa.Column("singleton_key", sa.Text),
    sa.Column("debounce_key", sa.Text),
    sa.Column("trace", sa.Text),  # the W3C traceparent that its spans hang from
    # Ownership: a checkpoint counts only while epoch and status are as the worker claimed them.
    sa.Column("epoch", sa.Integer, nullable=False, server_default="0"),
    _time("lease_until"),
    sa.Column("worker", sa.Text),
    sa.Column("requested", sa.Text),
    sa.Column("wake_seq", sa.Integer, nullable=False, server_default="0"),
    # Queueing.
    _time("due_at"),
    _time("sort_at", nullable=False),
    sa.Column("flow_a", sa.Text),
    sa.Column("flow_b", sa.Text),
    sa.Column("held_by", sa.Text),  # the full flow key, or paused workflow, for which the run stands aside
    _time("deadline_at"),  # of its start, and once it has started of its end: then it is cancelled
    sa.Column("finish_seconds", sa.Double),  # from its start to its end at most
    _time("debounce_until"),  # later events put it off no further than this
    # Counts.
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),  # failed tries of the body itself
    sa.Column("recoveries", sa.Integer, nullable=False, server_default="0"),  # take-overs in a row without a new step
    sa.Column("steps_at_recovery", sa.Integer, nullable=False, server_default="0"),
    # What people see.
    sa.Column("progress", JSON),
    sa.Column("meta", JSON),
    sa.Column("active", JSON),  # steps that have been executing for a while: {key: started_at}
    sa.Column("output", JSON),
    sa.Column("error", JSON),
    sa.Column("reason", sa.Text),
    _time("created_at", nullable=False),
    _time("started_at"),
    _time("finished_at"),
    _one_of("status", RUN_STATUSES),
    sa.CheckConstraint("requested IN ('cancel', 'pause')", name="requested"),
    sa.CheckConstraint("(status = 'running') = (lease_until IS NOT NULL)", name="lease"),
    sa.CheckConstraint("status NOT IN ('waiting', 'debounced') OR due_at IS NOT NULL", name="due"),
    sa.CheckConstraint("held_by IS NULL OR status = 'queued'", name="held"),
)
# Claim runs without a limit, oldest first (store.claim).
sa.Index(
    "ix_run_claim",
    run.c.sort_at,
    run.c.id,
    postgresql_where=sa.text("status = 'queued' AND held_by IS NULL AND flow_a IS NULL"),
)
# Peek at runs with a limit, oldest first (store_admission.candidates).
sa.Index(
    "ix_run_claim_flow",
    run.c.sort_at,
    run.c.id,
    postgresql_where=sa.text("status = 'queued' AND held_by IS NULL AND flow_a IS NOT NULL"),
)
# Count the running runs of a flow key, and set its queued ones aside (store_admission.admit).
sa.Index(
    "ix_run_flow_a",
    run.c.flow_a,
    run.c.status,
    run.c.sort_at,
    run.c.id,
    postgresql_where=sa.text("flow_a IS NOT NULL AND status IN ('queued', 'running')"),
)
sa.Index(
    "ix_run_flow_b",
    run.c.flow_b,
    run.c.status,
    run.c.sort_at,
    run.c.id,
    postgresql_where=sa.text("flow_b IS NOT NULL AND status IN ('queued', 'running')"),
)
# Promote the oldest run held by a key (store_admission.promote).
sa.Index("ix_run_held", run.c.held_by, run.c.sort_at, run.c.id, postgresql_where=sa.text("held_by IS NOT NULL"))
# Wake due runs (store_upkeep.wake_due).
sa.Index("ix_run_due", run.c.due_at, postgresql_where=sa.text("status IN ('waiting', 'debounced')"))
# Cancel runs that have passed their deadline (store_upkeep).
_RUNS_ON = "status IN ('queued', 'running', 'waiting', 'paused', 'debounced')"
sa.Index("ix_run_deadline", run.c.deadline_at, postgresql_where=sa.text(f"deadline_at IS NOT NULL AND {_RUNS_ON}"))
# Find the run that a further event puts off, and the one that stands for all of its key (starting).
sa.Index("ix_run_debounce", run.c.debounce_key, unique=True, postgresql_where=sa.text("status = 'debounced'"))
sa.Index("ix_run_singleton", run.c.singleton_key, postgresql_where=sa.text(f"singleton_key IS NOT NULL AND {_RUNS_ON}"))
# Find an invoked run by its parent's step, and those that end with their parent (steps.invoke, upkeep).
sa.Index("ix_run_parent", run.c.parent_run, run.c.parent_step, postgresql_where=sa.text("parent_run IS NOT NULL"))
sa.Index("ix_run_cascade", run.c.parent_run, postgresql_where=sa.text(f"is_cancelled_with_parent AND {_RUNS_ON}"))
# Delete what ended long ago (retention).
sa.Index("ix_run_finished", run.c.finished_at, postgresql_where=sa.text("finished_at IS NOT NULL"))
# Walk through the runs that started from one event (reads, retention).
sa.Index("ix_run_event", run.c.event_id)
# Rescue runs whose lease has expired (store_upkeep.expired).
sa.Index("ix_run_lease", run.c.lease_until, postgresql_where=sa.text("status = 'running'"))
# Lists, newest first: of one owner, of one subject, of all (reads.list_runs).
sa.Index("ix_run_owner", run.c.owner_id, run.c.id)
sa.Index("ix_run_subject", run.c.subject, run.c.id, postgresql_where=sa.text("subject IS NOT NULL"))
sa.Index("ix_run_workflow", run.c.workflow, run.c.id)

step = sa.Table(
    "step",
    metadata,
    sa.Column("run_id", UUID, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    # Where the step stands in the body: the number of its verb, then per branch its number and the verb in it.
    sa.Column("position", ARRAY(sa.Integer), nullable=False),
    sa.Column("input", JSON),
    sa.Column("output", JSON),
    sa.Column("blob_id", UUID),  # a result over 256 KiB, so that loading a run's memos stays cheap
    sa.Column("error", JSON),
    sa.Column("size_bytes", sa.Integer, nullable=False, server_default="0"),
    sa.Column("meta", JSON),  # what the step did to ctx.meta: done again, in memory, on each replay
    _time("started_at", nullable=False),
    _time("finished_at", nullable=False),
    _one_of("status", STEP_STATUSES),
)

# Tries of a step that did not succeed. A deferral (RetryAfter) costs no attempt.
step_attempt = sa.Table(
    "step_attempt",
    metadata,
    sa.Column("run_id", UUID, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("is_deferral", sa.Boolean, nullable=False),
    sa.Column("error", JSON, nullable=False),
    _time("started_at", nullable=False),
    _time("finished_at", nullable=False),
    _time("retry_at"),  # null: the last one
)

# One row per key of a limit: the lock under which slots are counted, and starts are spaced.
flow = sa.Table(
    "flow",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    _time("arrival_at"),  # of a throttle or rate limit: the theoretical arrival time of GCRA
)

# What a run waits for, or is cancelled by: one row per name. Events are looked for on both sides, after each side's commit.
wait = sa.Table(
    "wait",
    metadata,
    sa.Column("run_id", UUID, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),  # of the step, or cancel:<n>
    sa.Column("topic", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False, server_default="open"),
    sa.Column("match_path", ARRAY(sa.Text)),  # into the arriving event: {data,course_id}
    sa.Column("match_value", sa.Text),  # what must be there
    sa.Column("condition", sa.Text),  # or an expression over event and arriving
    _time("since", nullable=False),  # events from before this do not count
    _time("due_at"),
    sa.Column("event_id", UUID),  # that ended it
    _time("scanned_at"),  # null: the events that came before it have not been looked through yet
    _time("created_at", nullable=False),
    _one_of("kind", ("event", "cancel")),
    _one_of("status", ("open", "matched", "timed-out", "closed")),
)
# The waits that an event may end (waits.match).
sa.Index("ix_wait_topic", wait.c.topic, wait.c.match_value, postgresql_where=sa.text("status = 'open'"))
# Waits whose worker died before it had looked back (waits.scan_forgotten).
sa.Index(
    "ix_wait_unscanned",
    wait.c.created_at,
    postgresql_where=sa.text("scanned_at IS NULL AND status = 'open'"),
)
# A run takes an event once.
sa.Index(
    "ix_wait_taken",
    wait.c.run_id,
    wait.c.event_id,
    unique=True,
    postgresql_where=sa.text("kind = 'event' AND event_id IS NOT NULL"),
)

# One row per workflow with a cron expression.
schedule = sa.Table(
    "schedule",
    metadata,
    sa.Column("workflow", sa.Text, primary_key=True),
    sa.Column("cron", sa.Text, nullable=False),
    _time("next_at", nullable=False),
    _time("last_at"),
    _time("paused_at"),
)

# Workflows whose runs are held; their events are kept.
pause = sa.Table(
    "pause",
    metadata,
    sa.Column("workflow", sa.Text, primary_key=True),
    _time("paused_at", nullable=False),
)

# What steps write to ctx.stream(name): a further attempt begins anew.
stream = sa.Table(
    "stream",
    metadata,
    sa.Column("run_id", UUID, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    _time("written_at", nullable=False),
)

# What ctx.log says.
log = sa.Table(
    "log",
    metadata,
    sa.Column("run_id", UUID, primary_key=True),
    sa.Column("id", UUID, primary_key=True),
    sa.Column("step", sa.Text),
    sa.Column("level", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("fields", JSON),
    _time("logged_at", nullable=False),
)

# What was seen in the last 24 hours: event ids and idempotency keys.
idem = sa.Table(
    "idem",
    metadata,
    sa.Column("scope", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("holder", UUID, nullable=False),  # the event or run that holds the key
    _time("expires_at", nullable=False),
)
# Forget what has expired (store_upkeep.forget_expired).
sa.Index("ix_idem_expires", idem.c.expires_at)

blob = sa.Table("blob", metadata, sa.Column("id", UUID, primary_key=True), sa.Column("data", JSON, nullable=False))

worker = sa.Table(
    "worker",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("threads", sa.Integer, nullable=False),
    sa.Column("busy", sa.Integer, nullable=False, server_default="0"),
    _time("started_at", nullable=False),
    _time("seen_at", nullable=False),
    _time("upkeep_at"),  # when it last finished a pass of upkeep
    sa.Column("workflows", ARRAY(sa.Text)),  # which it can advance
    _one_of("kind", ("worker", "isolated", "upkeep")),
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
