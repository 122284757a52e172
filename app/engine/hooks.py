"""`on_failure`: a run of its own whose body is one transaction, so that it takes effect exactly once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.engine import reads
from app.engine.execution import Context, Execution
from app.engine.steps import Step
from app.engine.store_events import Event
from app.lib import json_text


@dataclass(frozen=True)
class Outcome:
    """How the run ended that the hook cleans up after."""

    run_id: UUID
    workflow: str
    status: str  # failed | cancelled | dead
    error: dict[str, Any]
    event: Event


def body_of(execution: Execution) -> Callable[[Context, Step], Any]:
    """Return the function that advances this run: the workflow's own, or the hook's single transaction."""
    if not execution.workflow.is_hook:
        return execution.workflow.function
    return lambda ctx, step: step.transaction("on-failure", lambda _session: _call(ctx))


def _call(ctx: Context) -> None:
    execution = ctx.execution
    parent = reads.get_run(execution.run.parent_run) if execution.run.parent_run else None
    if parent is None:
        return  # the run was deleted meanwhile: nothing to clean up after
    error = json_text.without_traceback(parent.error) or {
        "class": parent.status.title(),
        "code": parent.status,
        "message": parent.reason or "",
    }
    outcome = Outcome(parent.id, parent.workflow, parent.status, error, ctx.event)
    execution.workflow.function(ctx, outcome)
