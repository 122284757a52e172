"""Cron: one row per workflow with a cron expression, locked by whoever ticks, so that a tick makes one run."""

from datetime import datetime
from uuid import UUID

from app.engine import sending, starting
from app.engine.after import After
from app.engine.errors import EngineError
from app.engine.registry import Workflow, registry
from app.engine.runtime import Connection, logger
from app.engine.store_upkeep import now
from app.lib.cron import next_tick_put_off

EVENT = "schedule/due"
KNOWN = "SELECT workflow, cron, next_at <= at AND paused_at IS NULL, at FROM schedule, engine_now() AS at"
ADD = "INSERT INTO schedule (workflow, cron, next_at) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
CHANGE = "UPDATE schedule SET cron = %s, next_at = %s WHERE workflow = %s AND cron = %s"
# Whoever ticks holds the row, so that nobody else does; a second one then finds another `next_at`.
LOCK_DUE = """
SELECT next_at, at FROM schedule, engine_now() AS at
WHERE workflow = %s AND cron = %s AND next_at <= at AND paused_at IS NULL FOR UPDATE OF schedule SKIP LOCKED
"""
TICKED = "UPDATE schedule SET next_at = %s, last_at = %s WHERE workflow = %s"
PAUSE = "UPDATE schedule SET paused_at = engine_now() WHERE workflow = %s AND paused_at IS NULL"
RESUME = "UPDATE schedule SET paused_at = NULL, next_at = %s WHERE workflow = %s AND paused_at IS NOT NULL"


def tick(connection: Connection) -> After:
    """Start what is due of this process's workflows, and keep the table as the code has it; returns what to tell.

    Ticks that passed while nothing ran start one run together. During a deploy that changes an expression, old and new
    processes each put theirs into the table: what is due by either starts.
    """
    planned, after = {workflow.name: workflow for workflow in registry.by_name.values() if workflow.cron}, After()
    if not planned:
        return after
    known = {row[0]: row[1:] for row in connection.execute(KNOWN).fetchall()}
    for name, workflow in planned.items():
        cron, is_due, at = known.get(name) or (None, False, now(connection))
        if cron is None:
            connection.execute(ADD, [name, workflow.cron, next_at(workflow, at)])
        elif cron != workflow.cron:
            connection.execute(CHANGE, [workflow.cron, next_at(workflow, at), name, cron])
        elif is_due:
            after.add(_tick(connection, workflow))
    return after


def next_at(workflow: Workflow, after: datetime) -> datetime:
    """Return when the workflow is next due after `after`; the jitter of a tick is the same in every process."""
    return next_tick_put_off(str(workflow.cron), workflow.jitter, workflow.name, after)


def pause_schedule(name: str) -> bool:
    """Stop a workflow's cron in the caller's transaction; returns whether it was going on.

    Ticks that pass meanwhile are not made up for.
    """
    return sending.begin()[1].execute(PAUSE, [name]).rowcount > 0


def resume_schedule(name: str) -> bool:
    """Let a workflow's cron go on with its next tick, in the caller's transaction; returns whether it was paused.

    Raises:
        EngineError: this process knows no such workflow with a cron expression.
    """
    _, connection = sending.begin()
    return connection.execute(RESUME, [next_at(_planned(name), now(connection)), name]).rowcount > 0


def trigger_schedule(name: str) -> UUID:
    """Start a run of a scheduled workflow now, in the caller's transaction, whatever its cron says; returns its id.

    Raises:
        EngineError: this process knows no such workflow with a cron expression.
    """
    session, connection = sending.begin()
    told = _start(connection, _planned(name), now(connection))
    sending.after(session).add(told)
    return told.started[0].id


def _tick(connection: Connection, workflow: Workflow) -> After:
    with connection.transaction():
        row = connection.execute(LOCK_DUE, [workflow.name, workflow.cron]).fetchone()
        if row is None:
            return After()  # somebody else was quicker
        due_at, at = row
        connection.execute(TICKED, [next_at(workflow, at), at, workflow.name])
        after = _start(connection, workflow, due_at)
    logger.info("schedule.ticked", workflow=workflow.name, due_at=due_at.isoformat())
    return after


def _start(connection: Connection, workflow: Workflow, due_at: datetime) -> After:
    data = {"workflow": workflow.name, "due_at": due_at.isoformat()}
    return starting.start_one(connection, workflow, EVENT, data, owner_id=None)


def _planned(name: str) -> Workflow:
    workflow = registry.by_name.get(name)
    if workflow is None or not workflow.cron:
        raise EngineError(f"No workflow {name!r} has a cron expression here; list_schedules() shows those that have.")
    return workflow
