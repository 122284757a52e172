r"""The engine's tables, with metadata of their own (the rooms' tables know nothing of them).

States are drawn in docs/state_machine.md. `json`, not `jsonb`: it keeps what was written exactly, also
`\u0000` in a payload, and costs less to write. There are no foreign keys: each checkpoint would pay for
them, and every write here is fenced by the run's epoch already.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSON, TIMESTAMP, UUID

RUN_STATUSES = ("queued", "running", "waiting", "completed", "failed", "cancelled", "dead")
FINAL = ("completed", "failed", "cancelled", "dead")
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
    _time("created_at", nullable=False),
)

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
    sa.Column("parent_run", UUID),  # of a hook run: the run that ended badly
    sa.Column("forked_from", UUID),  # of a rerun: the run whose memos it copied
    sa.Column("edited", JSON),  # of a rerun: {"step": key, "input": [...]}
    sa.Column("idempotency_key", sa.Text),
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
    sa.Column("held_by", sa.Text),  # the full flow key for which the run stands aside
    # Counts.
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),  # failed tries of the body itself
    sa.Column("recoveries", sa.Integer, nullable=False, server_default="0"),  # take-overs in a row without a new step
    sa.Column("steps_at_recovery", sa.Integer, nullable=False, server_default="0"),
    # What people see.
    sa.Column("progress", JSON),
    sa.Column("active", JSON),  # steps that have been executing for a while: {key: started_at}
    sa.Column("output", JSON),
    sa.Column("error", JSON),
    sa.Column("reason", sa.Text),
    _time("created_at", nullable=False),
    _time("started_at"),
    _time("finished_at"),
    _one_of("status", RUN_STATUSES),
    sa.CheckConstraint("requested IN ('cancel')", name="requested"),
    sa.CheckConstraint("(status = 'running') = (lease_until IS NOT NULL)", name="lease"),
    sa.CheckConstraint("status <> 'waiting' OR due_at IS NOT NULL", name="due"),
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
sa.Index("ix_run_due", run.c.due_at, postgresql_where=sa.text("status = 'waiting'"))
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

# One row per concurrency key: the lock under which slots are counted.
flow = sa.Table("flow", metadata, sa.Column("key", sa.Text, primary_key=True))

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
    _one_of("kind", ("worker", "upkeep")),
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
