r"""The engine's tables, with metadata of their own (the rooms' tables know nothing of them).

States are drawn in docs/state_machine.md. `json`, not `jsonb`: it keeps what was written exactly, also
`\u0000` in a payload, and costs less to write. There are no foreign keys: each checkpoint would pay for
them, and what a worker writes of its run is fenced by the run's epoch already.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSON, TIMESTAMP, UUID

from app.lib.tables import index, keys, may, must, one_of

FINAL = ("completed", "failed", "cancelled", "dead", "skipped")
RUN_STATUSES = ("queued", "running", "waiting", "paused", "debounced", *FINAL)
RUNS_ON = "status IN ('queued', 'running', 'waiting', 'paused', 'debounced')"
STEP_STATUSES = ("completed", "failed")

TIME = TIMESTAMP(timezone=True)
NAMES = {"uq": "uq_%(table_name)s_%(column_0_N_name)s", "ck": "ck_%(table_name)s_%(constraint_name)s"}
metadata = sa.MetaData(naming_convention={**NAMES, "ix": "ix_%(column_0_N_label)s", "pk": "pk_%(table_name)s"})


def _table(name: str, *parts: sa.Column[object] | sa.CheckConstraint) -> sa.Table:
    return sa.Table(name, metadata, *parts)


event = _table(
    "event",
    *keys(UUID, "id"),
    *must(sa.Text, "name"),
    *must(JSON, "data"),
    *may(UUID, "owner_id"),  # null: the system
    *must(sa.Text, "topic"),  # owner and name in one: what waits look for
    *may(sa.Text, "trace"),  # the W3C traceparent of whoever sent it
    *may(TIME, "occurred_at"),  # its own time, where the sender said one
    *may(TIME, "matched_at"),  # null: the waits that it may end have not been looked through yet
    *must(TIME, "created_at"),
)
# The events that a new wait looks back over (waits.look_back).
index("ix_event_topic", event, "topic created_at")
# Events whose sender died before it had looked for waits (waits.look_for_forgotten).
index("ix_event_unmatched", event, "created_at", "matched_at IS NULL")

run = _table(
    "run",
    *keys(UUID, "id"),
    *must(sa.Text, "workflow", "status"),
    *must(sa.Integer, "version"),
    *may(UUID, "owner_id"),
    *may(sa.Text, "subject"),  # what the run is about, for example video:<id>
    *must(UUID, "event_id"),
    *must(sa.Text, "event_name"),
    *may(UUID, "parent_run"),  # of a hook run: the run that ended badly; of an invoked one: the run that waits
    *may(sa.Text, "parent_step"),  # of an invoked run: the key under which its parent waits
    *must(sa.Boolean, "is_cancelled_with_parent", default="false"),
    *may(UUID, "forked_from"),  # of a rerun: the run whose memos it copied
    *may(JSON, "edited"),  # of a rerun: {"step": key, "input": [...]}
    *may(sa.Text, "idempotency_key", "singleton_key", "debounce_key"),
    *may(sa.Text, "hook"),  # the workflow that runs when it ends badly, also for whoever does not know its workflow
    *may(sa.Text, "trace"),  # the W3C traceparent that its spans hang from
    # Ownership: a checkpoint counts only while epoch and status are as the worker claimed them.
    *must(sa.Integer, "epoch", "wake_seq", default="0"),
    *may(TIME, "lease_until"),
    *may(sa.Text, "worker", "requested"),
    # Queueing.
    *may(TIME, "due_at"),
    *must(TIME, "sort_at"),
    *may(sa.Text, "flow_a", "flow_b"),
    *may(sa.Text, "held_by"),  # the full flow key, or paused workflow, for which the run stands aside
    *may(TIME, "deadline_at"),  # of its start, and once it has started of its end: then it is cancelled
    *may(sa.Double, "finish_seconds"),  # from its start to its end at most
    *may(TIME, "debounce_until"),  # later events put it off no further than this
    # Counts.
    *must(sa.Integer, "attempt", default="0"),  # failed tries of the body itself
    *must(sa.Integer, "recoveries", default="0"),  # take-overs in a row without a new step
    *must(sa.Integer, "steps_at_recovery", default="0"),
    # What people see.
    *may(JSON, "progress", "meta", "output", "error"),
    *may(JSON, "active"),  # steps that have been executing for a while: {key: started_at}
    *may(sa.Text, "reason"),
    *must(TIME, "created_at"),
    *may(TIME, "started_at", "finished_at"),
    one_of("status", *RUN_STATUSES),
    one_of("requested", "cancel", "pause"),
    sa.CheckConstraint("(status = 'running') = (lease_until IS NOT NULL)", name="lease"),
    sa.CheckConstraint("status NOT IN ('waiting', 'debounced') OR due_at IS NOT NULL", name="due"),
    sa.CheckConstraint("held_by IS NULL OR status = 'queued'", name="held"),
)
_CLAIMABLE = "status = 'queued' AND held_by IS NULL"
_IN_FLOW = "IS NOT NULL AND status IN ('queued', 'running')"
# Claim runs without a limit, oldest first of each workflow (store.claim).
index("ix_run_claim", run, "workflow sort_at id", f"{_CLAIMABLE} AND flow_a IS NULL")
# Peek at runs with a limit, oldest first of each workflow (store_admission.candidates).
index("ix_run_claim_flow", run, "workflow sort_at id", f"{_CLAIMABLE} AND flow_a IS NOT NULL")
# Count the running runs of a flow key, and set its queued ones aside (store_admission.admit).
index("ix_run_flow_a", run, "flow_a status sort_at id", f"flow_a {_IN_FLOW}")
index("ix_run_flow_b", run, "flow_b status sort_at id", f"flow_b {_IN_FLOW}")
# Promote the oldest run held by a key (store_admission.promote).
index("ix_run_held", run, "held_by sort_at id", "held_by IS NOT NULL")
# Wake due runs (store_upkeep.wake_due).
index("ix_run_due", run, "due_at", "status IN ('waiting', 'debounced')")
# Cancel runs that have passed their deadline (store_upkeep).
index("ix_run_deadline", run, "deadline_at", f"deadline_at IS NOT NULL AND {RUNS_ON}")
# Cancel runs that were asked to end and are not claimed again (store_upkeep.UNHEEDED).
index("ix_run_unheeded", run, "deadline_at", "status = 'queued' AND requested = 'cancel'")
# Find the run that a further event puts off, and the one that stands for all of its key (starting).
index("ix_run_debounce", run, "debounce_key", "status = 'debounced'", unique=True)
index("ix_run_singleton", run, "singleton_key", f"singleton_key IS NOT NULL AND {RUNS_ON}")
# Find an invoked run by its parent's step, and those that end with their parent (steps.invoke, upkeep).
index("ix_run_parent", run, "parent_run parent_step", "parent_run IS NOT NULL")
index("ix_run_cascade", run, "parent_run", f"is_cancelled_with_parent AND {RUNS_ON}")
# Delete what ended long ago (retention).
index("ix_run_finished", run, "finished_at", "finished_at IS NOT NULL")
# Walk through the runs that started from one event (reads, retention).
index("ix_run_event", run, "event_id")
# Rescue runs whose lease has expired (store_upkeep.expired).
index("ix_run_lease", run, "lease_until", "status = 'running'")
# Lists, newest first: of one owner, of one subject, of all (reads.list_runs).
index("ix_run_owner", run, "owner_id id")
index("ix_run_subject", run, "subject id", "subject IS NOT NULL")
index("ix_run_workflow", run, "workflow id")
# Count those that have not ended, without reading them (metrics).
# Not `RUNS_ON`: where the planner thinks that few runs go on, it would look for one of them by walking through all.
index("ix_run_open", run, "workflow status", "finished_at IS NULL")

step = _table(
    "step",
    *keys(UUID, "run_id"),
    *keys(sa.Text, "key"),
    *must(sa.Text, "kind", "status"),
    # Where the step stands in the body: the number of its verb, then per branch its number and the verb in it.
    *must(ARRAY(sa.Integer), "position"),
    *may(JSON, "input", "output", "error"),
    *may(UUID, "blob_id"),  # a result over 256 KiB, so that loading a run's memos stays cheap
    *must(sa.Integer, "size_bytes", default="0"),
    *may(JSON, "meta"),  # what the step did to ctx.meta: done again, in memory, on each replay
    *must(TIME, "started_at", "finished_at"),
    one_of("status", *STEP_STATUSES),
)

# Tries of a step that did not succeed. A deferral (RetryAfter) costs no attempt.
step_attempt = _table(
    "step_attempt",
    *keys(UUID, "run_id"),
    *keys(sa.Text, "key"),
    *keys(sa.Integer, "number"),
    *must(sa.Boolean, "is_deferral"),
    *must(JSON, "error"),
    *must(TIME, "started_at", "finished_at"),
    *may(TIME, "retry_at"),  # null: the last one
)

# One row per key of a limit: the lock under which slots are counted, and starts are spaced. `arrival_at`, of a throttle
# or rate limit, is the theoretical arrival time of GCRA.
flow = _table("flow", *keys(sa.Text, "key"), *may(TIME, "arrival_at"))

# What a run waits for, or is cancelled by: one row per name (waits).
wait = _table(
    "wait",
    *keys(UUID, "run_id"),
    *keys(sa.Text, "key", "topic"),  # the key of the step, or cancel:<n>
    *must(sa.Text, "kind"),
    *must(sa.Text, "status", default="open"),
    *may(ARRAY(sa.Text), "match_path"),  # into the arriving event: {data,course_id}
    *may(sa.Text, "match_value"),  # the MD5 of what must be there
    *may(sa.Text, "condition"),  # or an expression over event and arriving
    *must(TIME, "since"),  # events from before this do not count
    *may(TIME, "due_at"),
    *may(UUID, "event_id"),  # that ended it
    *may(sa.Text, "error"),  # what is wrong with its condition
    *may(TIME, "scanned_at"),  # null: the events that came before it have not been looked through yet
    *must(TIME, "created_at"),
    one_of("kind", "event", "cancel"),
    one_of("status", "open", "matched", "timed-out", "closed", "failed"),
)
# The waits that an event may end (waits.look_for_waits). What looks for those of one run writes `status || ''`: where
# the planner thinks that few waits are open, it would walk through all of them here.
index("ix_wait_topic", wait, "topic match_value", "status = 'open'")
# Waits whose worker died before it had looked back, and new ones of cancel_on (waits.look_for_forgotten).
index("ix_wait_unscanned", wait, "created_at", "scanned_at IS NULL AND status = 'open'")
# A run takes an event once.
index("ix_wait_taken", wait, "run_id event_id", "kind = 'event' AND event_id IS NOT NULL", unique=True)
# Keep the events that runs may still ask for (retention).
index("ix_wait_event", wait, "event_id", "event_id IS NOT NULL")

# One row per workflow with a cron expression.
_SCHEDULE = [*keys(sa.Text, "workflow"), *must(sa.Text, "cron"), *must(TIME, "next_at")]
schedule = _table("schedule", *_SCHEDULE, *may(TIME, "last_at", "paused_at"))

# Workflows whose runs are held; their events are kept.
pause = _table("pause", *keys(sa.Text, "workflow"), *must(TIME, "paused_at"))

# What steps write to ctx.stream(name): a further attempt begins anew.
stream = _table(
    "stream",
    *keys(UUID, "run_id"),
    *keys(sa.Text, "name"),
    *keys(sa.Integer, "seq"),
    *must(sa.Integer, "attempt"),
    *must(sa.Text, "text"),
    *must(TIME, "written_at"),
)

# What ctx.log says.
log = _table(
    "log",
    *keys(UUID, "run_id", "id"),
    *may(sa.Text, "step"),
    *must(sa.Text, "level", "message"),
    *may(JSON, "fields"),
    *must(TIME, "logged_at"),
)

# What was seen in the last 24 hours: event ids and idempotency keys; `holder` is the event or run that has the key.
idem = _table("idem", *keys(sa.Text, "scope", "key"), *must(UUID, "holder"), *must(TIME, "expires_at"))
# Forget what has expired (store_upkeep.FORGET).
index("ix_idem_expires", idem, "expires_at")

blob = _table("blob", *keys(UUID, "id"), *must(JSON, "data"))

worker = _table(
    "worker",
    *keys(sa.Text, "name"),
    *must(sa.Text, "kind", "host"),
    *must(sa.Integer, "pid", "threads"),
    *must(sa.Integer, "busy", default="0"),
    *must(TIME, "started_at", "seen_at"),
    *may(TIME, "upkeep_at"),  # when it last finished a pass of upkeep
    *may(ARRAY(sa.Text), "workflows"),  # which it can advance
    one_of("kind", "worker", "isolated", "upkeep"),
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
