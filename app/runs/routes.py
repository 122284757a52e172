"""Pages of the console: the list of runs and the run."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint, Flask, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required

from app.engine import RunView
from app.errors import Invalid, NotFound
from app.runs import api, forms, present, queries, rq_dashboard, service, views

bp = Blueprint("runs", __name__, url_prefix="/runs")


def register(app: Flask) -> None:
    """Register the pages, endpoints and live topics of this room."""
    app.register_blueprint(bp)
    app.register_blueprint(api.bp)
    views.register()
    rq_dashboard.mount(app)


@bp.get("")
@login_required  # type: ignore[untyped-decorator]
def index() -> str:
    """List one's own runs, newest first; an administrator may list everyone's."""
    status, workflow, before = forms.parse_filters(request.args)
    is_everyone = current_user.is_admin and request.args.get("of") == "everyone"
    page = queries.list_page(None if is_everyone else current_user.id, status=status, workflow=workflow, before=before)
    row = "meta-row" if is_everyone else "row"
    is_plain = not (status or workflow or before or is_everyone)
    topics = [f"runs:{current_user.id}/list"] if is_plain else [f"run:{run.id}/{row}" for run in page.runs]
    chosen: dict[str, Any] = {"status": status, "workflow": workflow, "of": "everyone" if is_everyone else None}
    return render_template(
        "runs/index.html",
        runs=page.runs,
        titles={} if is_everyone else queries.subjects(page.runs),
        topics=topics,
        chosen=chosen,
        is_everyone=is_everyone,
        workflows=queries.workflow_names(),
        statuses=queries.STATUSES,
        next_url=url_for(".index", before=page.next_before, **chosen) if page.next_before else None,
        first_url=url_for(".index", **chosen) if before else None,
        precise=present.precise,
    )


@bp.get("/<uuid:run_id>")
@login_required  # type: ignore[untyped-decorator]
def show(run_id: UUID) -> str:
    """Show a run, live."""
    run = queries.get_for(current_user, run_id)
    return _page(run, has_contents=queries.owns(current_user, run), is_live=True)


@bp.post("/<uuid:run_id>/show")
@login_required  # type: ignore[untyped-decorator]
def show_contents(run_id: UUID) -> str:
    """Show an administrator the contents of someone else's run, this once, and write that down."""
    run = queries.get_for(current_user, run_id)
    service.note(current_user.id, "run.show", run)
    return _page(run, has_contents=True, is_live=False)


@bp.get("/<uuid:run_id>/steps/<path:key>")
@login_required  # type: ignore[untyped-decorator]
def show_step(run_id: UUID, key: str) -> ResponseReturnValue:
    """Show all of what a step was given and made, as JSON; the owner's only."""
    run = queries.get_own(current_user, run_id)
    step = next((step for step in queries.list_steps(run) if step.key == key), None)
    if step is None:
        raise NotFound
    text = present.pretty({"step": step.key, "input": step.input, "output": step.output, "error": step.error})
    return text, 200, {"Content-Type": "application/json; charset=utf-8"}


@bp.post("/<uuid:run_id>/cancel")
@login_required  # type: ignore[untyped-decorator]
def cancel(run_id: UUID) -> ResponseReturnValue:
    """Cancel a run; an administrator's doing so is written down."""
    run = queries.get_for(current_user, run_id)
    service.cancel_run(run, current_user.id)
    flash("The run is cancelled. A step that is being executed ends first.", "ok")
    return redirect(url_for(".show", run_id=run_id), 303)


@bp.post("/<uuid:run_id>/pause")
@login_required  # type: ignore[untyped-decorator]
def pause(run_id: UUID) -> ResponseReturnValue:
    """Pause a run; an administrator's doing so is written down."""
    run = queries.get_for(current_user, run_id)
    service.pause_run(run, current_user.id)
    flash("The run is paused. A step that is being executed ends first.", "ok")
    return redirect(url_for(".show", run_id=run_id), 303)


@bp.post("/<uuid:run_id>/resume")
@login_required  # type: ignore[untyped-decorator]
def resume(run_id: UUID) -> ResponseReturnValue:
    """Let a paused run go on, or one that was given up try anew; an administrator's doing so is written down."""
    run = queries.get_for(current_user, run_id)
    service.resume_run(run, current_user.id)
    flash("The run tries anew." if run.status == "dead" else "The run goes on.", "ok")
    return redirect(url_for(".show", run_id=run_id), 303)


@bp.post("/<uuid:run_id>/replay")
@login_required  # type: ignore[untyped-decorator]
def replay(run_id: UUID) -> ResponseReturnValue:
    """Run again from the beginning; the owner's only."""
    new_id = service.replay(queries.get_own(current_user, run_id))
    flash("Running again from the beginning.", "ok")
    return redirect(url_for(".show", run_id=new_id), 303)


@bp.post("/<uuid:run_id>/rerun")
@login_required  # type: ignore[untyped-decorator]
def rerun(run_id: UUID) -> ResponseReturnValue:
    """Run again from a step, with edited input or as it was; the owner's only.

    422: the input cannot be used; the page stands as it was, with the dialog open and what was typed in it.
    """
    run = queries.get_own(current_user, run_id)
    try:
        key, step_input = forms.parse_rerun(request.form, queries.list_steps(run))
    except Invalid as error:
        asked = {"step": request.form["step"], "text": request.form["input"], "message": error.message}
        return _page(run, has_contents=True, is_live=False, asked=asked), Invalid.status  # not live: it has ended
    new_id = service.rerun(run, key, step_input)
    flash(f"Running again from {key}.", "ok")
    return redirect(url_for(".show", run_id=new_id), 303)


def _page(run: RunView, *, has_contents: bool, is_live: bool, asked: dict[str, str] | None = None) -> str:
    is_own = queries.owns(current_user, run)
    values = views.body_values(run, has_contents=has_contents)
    if not is_own:  # what is shown this once may not be acted upon
        values |= {"can_rerun": False, "can_replay": False, "retry_key": None, "owner": queries.owner_email(run)}
    return render_template(
        "runs/show.html",
        topic=f"run:{run.id}/{'page' if is_own else 'meta'}" if is_live else None,
        audit=[] if is_own else queries.list_audit(run.id),
        is_own=is_own,
        asked=asked,
        **values,
    )
