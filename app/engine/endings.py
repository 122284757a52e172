"""How a run ends: one transaction with its status, its lifecycle event, its hook run and the freed slot."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from app.engine import runtime, starting, store, store_admission, store_flows
from app.engine.after import After
from app.engine.registry import registry
from app.engine.runtime import Connection
from app.engine.schema import FINAL
from app.engine.store import RunRow
from app.engine.store_events import RELEASE_KEY, NewEvent
from app.engine.store_starting import NewRun
from app.lib import json_text
from app.lib.ids import new_id
from app.lib.rows import row_of, rows_of

NOT_RUNNING = ("queued", "waiting", "paused", "debounced")


@dataclass(frozen=True)
class Ending:
    """How a run ended."""

    status: str  # completed | failed | cancelled | dead
    output: str | None = None  # JSON
    error: dict[str, Any] | None = None
    reason: str | None = None
    progress: str | None = None  # JSON
    meta: str | None = None  # JSON
    from_statuses: tuple[str, ...] = ("running",)


@dataclass(frozen=True)
class Ended:
    """Whether it was this caller who ended the run, and what to tell after the commit."""

    is_done: bool
    after: After = field(default_factory=After)


FLOWS = "SELECT DISTINCT key FROM run, unnest(ARRAY[flow_a, flow_b]) AS key WHERE id = ANY(%s) AND key IS NOT NULL"

CLOSE_WAITS = "UPDATE wait SET status = 'closed' WHERE run_id = %s AND wait.status || '' = 'open'"

# With those that wait for one of them: its end wakes them, and they are older.
LOCK = f"""
{store.SELECT_RUN} id = ANY(%(ids)s::uuid[] || ARRAY(
  SELECT parent_run FROM run WHERE id = ANY(%(ids)s) AND parent_step IS NOT NULL))
ORDER BY id FOR UPDATE
"""  # noqa: S608  (constant text)

# Its owner acts on it at the next step boundary. Once only: a deadline that passes then adds nothing.
REQUEST_CANCEL = """
UPDATE run SET requested = 'cancel', reason = %s, error = coalesce(%s::json, error), deadline_at = NULL
WHERE id = %s AND status = 'running'
"""


def finish(connection: Connection, run_id: UUID, epoch: int, ending: Ending) -> Ended:
    """End a run in the caller's transaction, if its epoch and status are still as expected.

    Writes what follows from the ending first (flow keys come before runs in the lock order); when the run has
    moved on, the caller must roll back.
    """
    run = row_of(RunRow, connection, f"{store.SELECT_RUN} id = %s", [run_id])
    if run is None:
        return Ended(is_done=False)
    after = After()
    after.changed(run)
    _write_consequences(connection, run, ending, after)
    store_flows.lock(connection, run.flows)
    if run.parent_run and run.parent_step:
        after.queued(store.wake(connection, [run.parent_run]))
    values = {**vars(ending), "run_id": run_id, "epoch": epoch, "from_statuses": list(ending.from_statuses)}
    values["error"] = None if ending.error is None else json.dumps(ending.error)
    if connection.execute(store.FINISH, values).fetchone() is None:
        return Ended(is_done=False)
    if ending.status != "dead":  # which may be resumed: then it goes on waiting
        connection.execute(CLOSE_WAITS, [run_id])
    if ending.status != "completed" and run.idempotency_key:
        scope = starting.run_scope(run.workflow, run.owner_id)
        connection.execute(RELEASE_KEY, [scope, run.idempotency_key, run.id])
    after.queued(store_admission.promote(connection, run.flows))
    return Ended(is_done=True, after=after)


def lock(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, RunRow]:
    """Lock runs, and those that wait for their end, in the caller's transaction; their flow keys first.

    Another order deadlocks with their workers.
    """
    keys = sorted(row[0] for row in connection.execute(FLOWS, [list(ids)]).fetchall())
    if keys:
        # The lock stops all claims of these keys: if this process freezes now, PostgreSQL ends the transaction.
        connection.execute(f"SET LOCAL idle_in_transaction_session_timeout = {round(1000 * runtime.FROZEN_SECONDS)}")
        store_flows.lock(connection, keys)
    return {run.id: run for run in rows_of(RunRow, connection, LOCK, {"ids": list(ids)})}


def cancel(connection: Connection, run: RunRow, reason: str, error: dict[str, Any] | None = None) -> Ended:
    """Cancel a run in the caller's transaction, which has locked its flow keys and then the run.

    At once when it is not executing; else `is_done` is false, and its owner does so at the next step boundary.
    """
    if run.status != "running":
        ending = Ending("cancelled", reason=reason, error=error, from_statuses=NOT_RUNNING)
        return finish(connection, run.id, run.epoch, ending)
    connection.execute(REQUEST_CANCEL, [reason, None if error is None else json.dumps(error), run.id])
    ended = Ended(is_done=False)
    ended.after.changed(run)
    return ended


def cancel_alone(run_id: UUID, reason: str) -> None:
    """Cancel a run in a transaction of its own, if it has not ended."""
    after = After(topics={f"run:{run_id}"})
    with runtime.runtime().pool.connection() as connection, connection.transaction():
        run = lock(connection, [run_id]).get(run_id)
        if run is not None and run.status not in FINAL:
            after.add(cancel(connection, run, reason).after)
    after.tell()


def _write_consequences(connection: Connection, run: RunRow, ending: Ending, after: After) -> None:
    if run.parent_run and not run.parent_step:
        return  # a hook's own ending starts nothing, so that a failing hook does not loop
    if not run.event_name.startswith("run/"):
        event = _lifecycle_event(run, ending)
        after.sent.append(event.id)
        after.add(starting.write(connection, [event]))
    workflow = registry.by_name.get(run.workflow)  # during a deploy, a process of older code may end the run
    hook = workflow.hook if workflow else run.hook
    if hook and ending.status != "completed":
        about = (run.owner_id, run.subject, run.event_id, run.event_name)
        after.add(starting.insert_runs(connection, [NewRun(new_id(), hook, 1, *about, parent_run=run.id)]))


def _lifecycle_event(run: RunRow, ending: Ending) -> NewEvent:
    data = {
        "run_id": str(run.id),
        "workflow": run.workflow,
        "subject": run.subject,
        "event": {"id": str(run.event_id), "name": run.event_name},
        "error": json_text.without_traceback(ending.error or run.error),
        "reason": ending.reason or run.reason,
    }
    return NewEvent(new_id(), f"run/{ending.status}", data, json.dumps(data), run.owner_id)
