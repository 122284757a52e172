"""Reads of the console: whose run it is decides what is seen of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from app import engine
from app.accounts.queries import find_user
from app.db import db
from app.engine import RunView, StepView
from app.errors import NotFound
from app.runs import present
from app.runs.models import AuditEntry
from app.videos import queries_home

PAGE = 50
STATUSES = (
    *("queued", "running", "waiting", "paused", "debounced"),
    *("completed", "failed", "cancelled", "dead", "skipped"),
)


@dataclass(frozen=True)
class Page:
    """Some runs, newest first, and the id after which the next page begins (None: there is none)."""

    runs: list[RunView]
    next_before: UUID | None


def get_for(user: Any, run_id: UUID) -> RunView:
    """Return a run that the person owns or, as an administrator, may see as metadata.

    Raises:
        NotFound: there is none, or it is a stranger's.
    """
    found = engine.get_run(run_id)
    if found is None or not (owns(user, found) or user.is_admin):
        raise NotFound
    return found


def get_own(user: Any, run_id: UUID) -> RunView:
    """Return a run that the person owns, for what not even administrators may do.

    Raises:
        NotFound: there is none, or it is somebody else's.
    """
    found = get_for(user, run_id)
    if not owns(user, found):
        raise NotFound
    return found


def owns(user: Any, run: RunView) -> bool:
    """Tell whether this is the person's own run (then they see all of it)."""
    return bool(run.owner_id == user.id)


def list_page(
    owner_id: UUID | None, *, status: str | None = None, workflow: str | None = None, before: UUID | None = None
) -> Page:
    """Return a page of one person's runs, or of everyone's (None)."""
    found = engine.list_runs(owner_id=owner_id, status=status, workflow=workflow, before=before, limit=PAGE + 1)
    shown = found[:PAGE]
    return Page(shown, shown[-1].id if len(found) > PAGE else None)


def list_steps(run: RunView) -> list[StepView]:
    """Return the steps of a run in the order of its body."""
    return engine.list_steps(run.id)


def events_waited_for(run: RunView) -> dict[str, list[str]]:
    """Return the names of the events that each step waits for, by its key."""
    found: dict[str, list[str]] = {}
    for wait in engine.list_waits(run.id):
        if (wait.kind, wait.status) == ("event", "open"):
            found.setdefault(wait.key, []).append(wait.event_name)
    return found


def workflow_names() -> list[str]:
    """Return the names of all workflows."""
    return [workflow.name for workflow in engine.list_workflows()]


def owner_email(run: RunView) -> str:
    """Return whose run it is, for administrators."""
    owner = find_user(run.owner_id) if run.owner_id else None
    return owner.email if owner else "the system"


def list_audit(run_id: UUID) -> list[AuditEntry]:
    """Return what administrators did with a run, newest first."""
    query = sa.select(AuditEntry).where(AuditEntry.subject == f"run:{run_id}").order_by(AuditEntry.id.desc()).limit(20)
    return list(db.session.scalars(query))


def subjects(runs: Sequence[RunView]) -> dict[UUID, str]:
    """Return what each run is about, by run: the title of its video, else its subject; for the owner's eyes only."""
    return {run.id: run.subject for run in runs if run.subject} | titles(runs)


def titles(runs: Sequence[RunView]) -> dict[UUID, str]:
    """Return the titles of the videos that runs are about, by run; for the owner's eyes only."""
    videos = {run.id: present.subject_id(run.subject, "video") for run in runs}
    found: dict[UUID, str] = {}
    for owner_id in {run.owner_id for run in runs if run.owner_id}:
        wanted = {video for run in runs if run.owner_id == owner_id and (video := videos[run.id])}
        found |= queries_home.titles_of(owner_id, wanted)
    return {run_id: found[video] for run_id, video in videos.items() if video in found}
