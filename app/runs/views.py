"""What the run page shows, put together once for the page, the socket and the administrator's view."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import render_template

from app import engine, live
from app.engine import RunView
from app.errors import NotFound
from app.lib.clock import now
from app.runs import present, queries, service, timeline

MAX_STEPS = 300  # on one page
MAX_LINES = 200  # of its log, the last ones


def register() -> None:
    """Register the live views: owners watch all of a run, administrators its metadata."""
    live.register("run", "page", authorise=_is_owner, render=lambda run_id: _body(run_id, has_contents=True))
    live.register("run", "meta", authorise=_is_admin, render=lambda run_id: _body(run_id, has_contents=False))
    live.register("run", "row", authorise=_is_owner, render=lambda run_id: _row(run_id, has_contents=True))
    live.register("run", "meta-row", authorise=_is_admin, render=lambda run_id: _row(run_id, has_contents=False))
    live.register("runs", "list", authorise=lambda user, owner_id: user.id == owner_id, render=_list)


def body_values(run: RunView, *, has_contents: bool) -> dict[str, Any]:
    """Return what `runs/_body.html` needs."""
    steps = queries.list_steps(run)
    moment = now()
    return {
        "run": run,
        "steps": steps[:MAX_STEPS],
        "hidden_steps": len(steps) - MAX_STEPS,
        "lines": timeline.draw(run, steps, moment),
        "queue_seconds": timeline.queue_seconds(run),
        "run_seconds": ((run.finished_at or moment) - run.started_at).total_seconds() if run.started_at else None,
        "has_contents": has_contents,
        "waiting": present.waiting(engine.why_not_started(run.id), steps, has_contents=has_contents),
        "events": queries.events_waited_for(run),
        "can_rerun": has_contents and service.can_rerun(run),
        "can_replay": has_contents and service.can_replay(run),
        "retry_key": service.retry_key(run, steps) if has_contents else None,
        "subject": present.subject_link(run.subject),
        "title": queries.titles([run]).get(run.id) if has_contents else None,
        "owner": "" if has_contents else queries.owner_email(run),
        "usage": present.usage_facts(steps) if has_contents else [],
        "logs": engine.list_logs(run.id)[-MAX_LINES:] if has_contents else [],
        "most_lines": MAX_LINES,
        "present": present,
    }


def _find(run_id: UUID) -> RunView:
    run = engine.get_run(run_id)
    if run is None:
        raise NotFound
    return run


def _is_owner(user: Any, run_id: UUID) -> bool:
    return queries.owns(user, _find(run_id))


def _is_admin(user: Any, run_id: UUID) -> bool:
    return bool(user.is_admin and _find(run_id))


def _body(run_id: UUID, *, has_contents: bool) -> str:
    return render_template("runs/_body.html", **body_values(_find(run_id), has_contents=has_contents))


def _row(run_id: UUID, *, has_contents: bool) -> str:
    run = _find(run_id)
    titles = queries.subjects([run]) if has_contents else {}
    return render_template("runs/_row.html", run=run, titles=titles, precise=present.precise)


def _list(owner_id: UUID) -> str:
    page = queries.list_page(owner_id)
    titles = queries.subjects(page.runs)
    return render_template("runs/_list.html", runs=page.runs, titles=titles, precise=present.precise)
