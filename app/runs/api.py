"""JSON endpoints of the console.

A run is `{id, workflow, status, is_final, ...}` as `run_json` makes it. `status` is one of queued, running, waiting,
paused, debounced (it gathers events before it starts), completed, failed, cancelled, dead (given up after it lost its
worker too often), skipped (a limit did not let it start); `is_final` says whether anything still happens to it by
itself, though a dead one can be resumed. The owner gets all of it, an administrator metadata, a stranger 404.
"""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required

from app import engine
from app.engine import RunView, StepView
from app.lib.json_text import without_traceback
from app.runs import forms, present, queries, service

bp = Blueprint("runs_api", __name__, url_prefix="/api/runs")


@bp.get("/<uuid:run_id>")
@login_required  # type: ignore[untyped-decorator]
def show_run(run_id: UUID) -> ResponseReturnValue:
    """Return a run with its steps; an administrator who does not own it gets metadata only."""
    return _answer(queries.get_for(current_user, run_id))


@bp.post("/<uuid:run_id>/pause")
@login_required  # type: ignore[untyped-decorator]
def pause_run(run_id: UUID) -> ResponseReturnValue:
    """Pause a run, after the step it is executing; return it. 409: there is nothing to pause."""
    run = queries.get_for(current_user, run_id)
    service.pause_run(run, current_user.id)
    return _answer(queries.get_for(current_user, run_id))


@bp.post("/<uuid:run_id>/resume")
@login_required  # type: ignore[untyped-decorator]
def resume_run(run_id: UUID) -> ResponseReturnValue:
    """Let a paused run go on, or a dead one try anew; return it. 409: it is neither, or its video is in other hands."""
    run = queries.get_for(current_user, run_id)
    service.resume_run(run, current_user.id)
    return _answer(queries.get_for(current_user, run_id))


@bp.post("/<uuid:run_id>/replay")
@login_required  # type: ignore[untyped-decorator]
def replay_run(run_id: UUID) -> ResponseReturnValue:
    """Start a new run of the same event; the owner's only.

    201: the new run. 409: this one has not ended, or its video decides how it is made again: the message says more.
    """
    new_id = service.replay(queries.get_own(current_user, run_id))
    return _answer(queries.get_own(current_user, new_id)), HTTPStatus.CREATED


@bp.post("/<uuid:run_id>/cancel")
@login_required  # type: ignore[untyped-decorator]
def cancel_run(run_id: UUID) -> ResponseReturnValue:
    """Cancel a run, after the step it is executing; the owner's only. 409: it has ended."""
    run = queries.get_own(current_user, run_id)
    service.cancel_run(run, current_user.id)
    return _answer(queries.get_own(current_user, run_id))


@bp.post("/<uuid:run_id>/rerun")
@login_required  # type: ignore[untyped-decorator]
def rerun_run(run_id: UUID) -> ResponseReturnValue:
    """Start a new run that goes on at `step` of this one, with the arguments `input` if given; the owner's only.

    201: the new run. 404: no such step. 409: this one has not ended, or its video is in other hands. 422: the input is
    no list.
    """
    run = queries.get_own(current_user, run_id)
    key, step_input = forms.parse_rerun_json(request.get_json(silent=True), queries.list_steps(run))
    new_id = service.rerun(run, key, step_input)
    return _answer(queries.get_own(current_user, new_id)), HTTPStatus.CREATED


def _answer(run: RunView) -> Response:
    return jsonify(run_json(run, queries.list_steps(run), has_contents=queries.owns(current_user, run)))


def run_json(run: RunView, steps: list[StepView], *, has_contents: bool) -> dict[str, Any]:
    """Return a run as JSON; without contents: no input, output, progress text or error text."""
    found: dict[str, Any] = {
        "id": str(run.id),
        "workflow": run.workflow,
        "status": run.status,
        "is_final": run.is_final,
        "requested": run.requested,  # cancel or pause: happens after the step that is being executed
        "waits_for": _waits_for(run, has_contents=has_contents),
        "subject": run.subject,
        "event": {"id": str(run.event_id), "name": run.event_name},
        "attempt": run.attempt + 1,  # which try of its body this is
        "recoveries": run.recoveries,
        "parent_run": str(run.parent_run) if run.parent_run else None,
        "parent_step": run.parent_step,
        "forked_from": str(run.forked_from) if run.forked_from else None,
        "created_at": _time(run.created_at),
        "started_at": _time(run.started_at),
        "finished_at": _time(run.finished_at),
        "steps": [_step(step, has_contents=has_contents) for step in steps],
    }
    if has_contents:
        found |= {
            "progress": run.progress,
            "meta": run.meta,
            "reason": run.reason,
            "error": without_traceback(run.error),
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
        "until": _time(step.until),
        "child_run": str(step.child) if step.child else None,
        "started_at": _time(step.started_at),
        "finished_at": _time(step.finished_at),
    }
    if has_contents:
        # Where in our code it broke is for the run page only.
        error = without_traceback(step.error)
        found |= {"error": error, "input": step.input, "output": step.output, "usage": step.usage}
    return found


def _waits_for(run: RunView, *, has_contents: bool) -> dict[str, Any] | None:
    why = engine.why_not_started(run.id)
    if why is None:
        return None
    return {
        "reason": why.reason,
        "sentence": present.sentence(why, has_contents=has_contents),
        "next_at": _time(why.next_at),
    }


def _time(when: datetime | None) -> str | None:
    return when.isoformat() if when else None
