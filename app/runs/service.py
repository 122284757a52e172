"""What people do to runs. Whose run it is has been checked by the caller (`queries.get_for`)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from app import engine
from app.db import db
from app.engine import RunActive, RunView, StepView, UnknownRun
from app.errors import Conflict, NotFound
from app.runs.models import AuditEntry
from app.videos import service as videos


def cancel_run(run: RunView) -> None:
    """Cancel a run: at once, or after the step it is executing.

    Raises:
        Conflict: it has ended already.
    """
    if not engine.cancel(run.id, "cancelled on its page"):
        raise Conflict("This run has already ended, so there is nothing to cancel.")


def rerun(run: RunView, step_key: str, step_input: list[Any] | None = None) -> UUID:
    """Start a new run that goes on at a step of this one; `step_input` replaces the step's arguments.

    Raises:
        Conflict: the run has not ended, follows another run by itself, or its video is being worked on.
        NotFound: it has no such step, or its workflow or its video no longer exists.
    """
    if run.parent_run is not None:
        raise Conflict("This run followed another one by itself. Run that one again instead.")
    videos.go_on_at(run, step_key)  # the status of a video decides whether its workflows may go on
    try:
        return engine.rerun_from(run.id, step_key, step_input)
    except RunActive:
        raise Conflict("This run has not ended yet. Cancel it first, or wait for its end.") from None
    except UnknownRun:
        raise NotFound("There is no such step to run again. Reload the page and choose another one.") from None


def retry_key(run: RunView, steps: list[StepView]) -> str | None:
    """Return at which step a retry would go on: the first that failed, else the last; None when there is none."""
    if run.status not in ("failed", "cancelled", "dead") or run.parent_run is not None or not steps:
        return None
    return next((step.key for step in steps if step.status == "failed"), steps[-1].key)


def note(user_id: UUID, action: str, run: RunView) -> None:
    """Write into the audit log that an administrator did something with someone else's run."""
    db.session.add(AuditEntry(user_id=user_id, action=action, subject=f"run:{run.id}"))
    db.session.flush()
