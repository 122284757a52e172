"""What people do to runs. Whose run it is has been checked by the caller (`queries.get_for`).

That an administrator has done it to somebody else's run is written down with it.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from app import engine
from app.db import db
from app.engine import RunActive, RunView, StepView, UnknownRun
from app.errors import Conflict, NotFound
from app.runs.models import AuditEntry
from app.videos import service as videos


def cancel_run(run: RunView, actor_id: UUID) -> None:
    """Cancel a run: at once, or after the step it is executing.

    Raises:
        Conflict: it has ended already.
    """
    if not engine.cancel(run.id, "cancelled on its page"):
        raise Conflict("This run has already ended, so there is nothing to cancel.")
    note(actor_id, "run.cancel", run)


def pause_run(run: RunView, actor_id: UUID) -> None:
    """Pause a run: at once, or after the step it is executing.

    Raises:
        Conflict: it has ended, or is paused, or is about to be cancelled.
    """
    if not engine.pause(run.id):
        raise Conflict("This run has ended, is paused or is being cancelled, so there is nothing to pause.")
    note(actor_id, "run.pause", run)


def resume_run(run: RunView, actor_id: UUID) -> None:
    """Let a paused run go on, one that is about to pause not pause, and one that was given up try anew.

    Raises:
        Conflict: it is none of these, or its video is being worked on or has been since.
        NotFound: its video no longer exists.
    """
    if run.status == "dead":
        videos.take_up_again(run, _goes_on_at(engine.list_steps(run.id)))
    if not engine.resume(run.id):
        raise Conflict("This run is neither paused nor given up, so there is nothing to resume.")
    note(actor_id, "run.resume", run)


def replay(run: RunView) -> UUID:
    """Start a new run of the same event from its beginning.

    Raises:
        Conflict: the run has not ended, follows another run by itself, or its video decides how it is made again.
        NotFound: its workflow or its event no longer exists.
    """
    refusal = _why_not_again(run) or videos.why_no_replay(run)
    if refusal is not None:
        raise Conflict(refusal)
    try:
        return engine.replay(run.id)
    except UnknownRun:
        raise NotFound("The workflow or the event of this run is gone, so it cannot begin again.") from None


def rerun(run: RunView, step_key: str, step_input: list[Any] | None = None) -> UUID:
    """Start a new run that goes on at a step of this one; `step_input` replaces the step's arguments.

    Raises:
        Conflict: the run has not ended, follows another run by itself, or its video is being worked on.
        NotFound: it has no such step, or its workflow or its video no longer exists.
    """
    if _is_hook(run):
        raise Conflict(_FOLLOWED)
    videos.go_on_at(run, step_key)  # the status of a video decides whether its workflows may go on
    try:
        return engine.rerun_from(run.id, step_key, step_input)
    except RunActive:
        raise Conflict(_NOT_ENDED) from None
    except UnknownRun:
        raise NotFound("There is no such step to run again. Reload the page and choose another one.") from None


def can_rerun(run: RunView) -> bool:
    """Tell whether a run may go on at one of its steps, as a new run."""
    return _why_not_again(run) is None


def can_replay(run: RunView) -> bool:
    """Tell whether a run may begin anew."""
    return can_rerun(run) and videos.why_no_replay(run) is None


def retry_key(run: RunView, steps: list[StepView]) -> str | None:
    """Return at which step a retry would go on: the first that failed, else the last; None when there is none.

    A run that was given up is resumed instead: it goes on itself.
    """
    return _goes_on_at(steps) if run.status in ("failed", "cancelled") and not _is_hook(run) else None


_FOLLOWED = "This run followed another one by itself. Run that one again instead."
_NOT_ENDED = "This run has not ended yet. Cancel it first, or wait for its end."


def _why_not_again(run: RunView) -> str | None:
    return _FOLLOWED if _is_hook(run) else None if run.is_final else _NOT_ENDED


def _is_hook(run: RunView) -> bool:
    """Tell whether it cleans up after another run; one that a step has started can stand alone."""
    return run.parent_run is not None and run.parent_step is None


def _goes_on_at(steps: list[StepView]) -> str | None:
    failed = (step.key for step in steps if step.status == "failed")
    return next(failed, steps[-1].key if steps else None)


def note(actor_id: UUID, action: str, run: RunView) -> None:
    """Write into the audit log what an administrator does with somebody else's run; of one's own, nothing."""
    if run.owner_id != actor_id:
        db.session.add(AuditEntry(user_id=actor_id, action=action, subject=f"run:{run.id}"))
        db.session.flush()
