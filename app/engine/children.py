"""Runs that a step invokes: found again by their parent's step, which waits for their end."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from app.engine import endings, starting, store
from app.engine.errors import LostLease, NonRetriable, Park
from app.engine.execution import Execution
from app.engine.registry import registry
from app.engine.runtime import runtime
from app.engine.schema import FINAL
from app.lib.rows import rows_of

INVOKED = "workflow/invoked"

FIND = """
SELECT id, parent_step, status, error, reason, created_at FROM run
WHERE parent_run = %s AND parent_step = coalesce(%s, parent_step)
"""
OUTPUT = "SELECT output FROM run WHERE id = %s"


class ChildFailed(NonRetriable):
    """The invoked run did not complete, or not in time."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.code = f"child_{status}"


@dataclass(frozen=True)
class Child:
    """What a step invokes."""

    workflow: str
    data: dict[str, Any]
    seconds: float
    is_cancelled_with_parent: bool


@dataclass(frozen=True)
class _Found:
    id: UUID
    parent_step: str
    status: str
    error: dict[str, Any] | None
    reason: str | None
    created_at: datetime


def outcome(execution: Execution, key: str, child: Child) -> Any:
    """Return the result of the run that this step invokes; the first time, start it.

    Raises:
        Park: it has not ended.
        ChildFailed: it ended otherwise than completed, or has not ended in time.
        LostLease: the run belongs to another worker.
    """
    found = execution.once("children", lambda: _find(execution)).get(key)
    if found is None:
        _start(execution, key, child)
        found = _find(execution, key)[key]
    if found.status == "completed":
        with runtime().pool.connection() as connection:
            row = connection.execute(OUTPUT, [found.id]).fetchone()
        return None if row is None else row[0]
    if found.status in FINAL:
        why = (found.error or {}).get("message") or found.reason or ""
        raise ChildFailed(found.status, f"The run {found.id} of {child.workflow!r} is {found.status}. {why}".strip())
    due_at = found.created_at + timedelta(seconds=child.seconds)
    if due_at > execution.now():
        raise Park(due_at)
    if child.is_cancelled_with_parent:
        endings.cancel_alone(found.id, "the run that it belongs to waits no longer")
    raise ChildFailed("timeout", f"The run {found.id} of {child.workflow!r} has not ended in {child.seconds:g} s.")


def edited(given: Sequence[Any]) -> dict[str, Any]:
    """Return the payload for a child from the step's input, which a person may have edited."""
    if len(given) == 1 and isinstance(given[0], dict) and isinstance(data := given[0].get("data"), dict):
        return data
    raise ChildFailed("input", 'The input of a step that invokes cannot be this: write [{"data": {...}}].')


def _find(execution: Execution, key: str | None = None) -> dict[str, _Found]:
    with runtime().pool.connection() as connection:
        return {found.parent_step: found for found in rows_of(_Found, connection, FIND, [execution.run.id, key])}


def _start(execution: Execution, key: str, child: Child) -> None:
    """Write the child and its event, only while the parent is this worker's: so there is one, whoever else tries."""
    run, workflow = execution.run, registry.by_name[child.workflow]
    kept = {"parent_run": run.id, "parent_step": key, "is_cancelled_with_parent": child.is_cancelled_with_parent}
    with runtime().pool.connection() as connection, connection.transaction():
        after = starting.start_one(connection, workflow, INVOKED, child.data, owner_id=run.owner_id, **kept)
        if connection.execute(store.FENCE, [run.id, run.epoch]).fetchone() is None:  # after the flow keys of the child
            raise LostLease(run.id)
    after.tell()
