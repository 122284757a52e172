"""JSON endpoints of the console."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required

from app.engine import RunView, StepView
from app.runs import queries

bp = Blueprint("runs_api", __name__, url_prefix="/api/runs")


@bp.get("/<uuid:run_id>")
@login_required  # type: ignore[untyped-decorator]
def show_run(run_id: UUID) -> ResponseReturnValue:
    """Return a run with its steps; an administrator who does not own it gets metadata only."""
    run = queries.get_for(current_user, run_id)
    return jsonify(run_json(run, queries.list_steps(run), has_contents=queries.owns(current_user, run)))


def run_json(run: RunView, steps: list[StepView], *, has_contents: bool) -> dict[str, Any]:
    """Return a run as JSON; without contents: no input, output, progress text or error text."""
    found: dict[str, Any] = {
        "id": str(run.id),
        "workflow": run.workflow,
        "status": run.status,
        "subject": run.subject,
        "event": {"id": str(run.event_id), "name": run.event_name},
        "attempt": run.attempt,
        "recoveries": run.recoveries,
        "parent_run": str(run.parent_run) if run.parent_run else None,
        "forked_from": str(run.forked_from) if run.forked_from else None,
        "created_at": _time(run.created_at),
        "started_at": _time(run.started_at),
        "finished_at": _time(run.finished_at),
        "steps": [_step(step, has_contents=has_contents) for step in steps],
    }
    if has_contents:
        found |= {
            "progress": run.progress,
            "reason": run.reason,
            "error": run.error,
            "input": run.input,
            "output": run.output,
        }
    return found


def _step(step: StepView, *, has_contents: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "key": step.key,
        "kind": step.kind,
        "status": step.status,
        "failed_attempts": len(step.attempts),
        "started_at": _time(step.started_at),
        "finished_at": _time(step.finished_at),
    }
    if has_contents:
        # Where in our code it broke is for the run page only.
        error = {key: step.error[key] for key in step.error if key != "traceback"} if step.error else None
        found |= {"error": error, "input": step.input, "output": step.output}
    return found


def _time(when: datetime | None) -> str | None:
    return when.isoformat() if when else None
