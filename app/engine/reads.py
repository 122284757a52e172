"""What others may know of runs, steps and workers: frozen views. Permission is the caller's business."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa

from app.engine.options import Isolated
from app.engine.registry import registry
from app.engine.runtime import runtime
from app.engine.schema import FINAL, blob, event, pause, run, schedule, step, step_attempt, wait, worker
from app.engine.store import BODY
from app.engine.store_events import Event
from app.lib.rows import columns_of, views

MAX_PAGE = 500
View = TypeVar("View")


@dataclass(frozen=True)
class RunView:
    """A run. `error` is {class, code, message}; `progress` has the shape of app.lib.progress."""

    id: UUID
    workflow: str
    version: int
    status: str
    owner_id: UUID | None
    subject: str | None
    event_id: UUID
    event_name: str
    input: Any
    output: Any
    error: dict[str, Any] | None
    progress: dict[str, Any] | None
    meta: dict[str, Any] | None
    reason: str | None
    requested: str | None
    attempt: int
    recoveries: int
    parent_run: UUID | None
    parent_step: str | None
    forked_from: UUID | None
    held_by: str | None
    worker: str | None
    due_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def is_final(self) -> bool:
        """Tell whether the run has ended."""
        return self.status in FINAL


@dataclass(frozen=True)
class StepView:
    """A step: running, backing-off, sleeping, waiting, completed, failed, or cancelled (its run ended before it).

    `attempts` are the tries that did not succeed. The kind of one that is not remembered yet is known of `wait` and
    `invoke`; of others it is `run`.
    """

    key: str
    kind: str
    status: str
    input: Any
    output: Any
    error: dict[str, Any] | None
    attempts: list[dict[str, Any]]
    started_at: datetime | None
    finished_at: datetime | None
    usage: dict[str, Any] | None = None  # of a step of kind ai: model, tokens, cost
    until: datetime | None = None  # it sleeps, or is tried again; of a wait: at the latest
    child: UUID | None = None  # of an invoke: the run that it has started


@dataclass(frozen=True)
class WorkerView:
    """A worker or upkeep process."""

    name: str
    kind: str
    host: str
    pid: int
    threads: int
    busy: int
    started_at: datetime
    seen_at: datetime
    upkeep_at: datetime | None
    workflows: list[str] | None  # which it can advance
    is_alive: bool


@dataclass(frozen=True)
class WaitView:
    """An event that a run waits for (kind `event`) or is cancelled by (`cancel`), and what came of it."""

    key: str
    event_name: str
    kind: str
    status: str
    since: datetime
    due_at: datetime | None
    event_id: UUID | None


@dataclass(frozen=True)
class ScheduleView:
    """The cron expression of a workflow, and when it is due."""

    workflow: str
    cron: str
    next_at: datetime
    last_at: datetime | None
    paused_at: datetime | None


@dataclass(frozen=True)
class WorkflowView:
    """A workflow of this process."""

    name: str
    on: tuple[str, ...]
    cron: str | None
    version: int
    is_hook: bool
    hook: str | None  # the workflow that runs when it ends badly
    isolated: Isolated | None
    is_paused: bool


_RUN = sa.select(*columns_of(RunView, run, "input"), event.c.data.label("input")).outerjoin_from(
    run, event, event.c.id == run.c.event_id
)


def get_run(run_id: UUID) -> RunView | None:
    """Return the run, or None."""
    return next(iter(_views(RunView, _RUN.where(run.c.id == run_id))), None)


def list_runs(
    *,
    owner_id: UUID | None = None,
    workflow: str | None = None,
    status: str | None = None,
    subject: str | None = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    before: UUID | None = None,
    limit: int = 50,
) -> list[RunView]:
    """Return runs, newest first; `before` is the id of the last one of the page before."""
    wanted: dict[str, Any] = {"owner_id": owner_id, "workflow": workflow, "status": status, "subject": subject}
    wanted |= {"created_after": created_after, "created_before": created_before}
    query = matching(_RUN, wanted)
    if before is not None:
        query = query.where(run.c.id < before)
    return _views(RunView, query.order_by(run.c.id.desc()).limit(min(limit, MAX_PAGE)))


FILTERS = {name: (run.c[name], operator.eq) for name in ("owner_id", "workflow", "status", "subject")} | {
    "created_after": (run.c.created_at, operator.ge),
    "created_before": (run.c.created_at, operator.le),
}


def matching(query: sa.Select[Any], wanted: Mapping[str, Any]) -> sa.Select[Any]:
    """Return `query` for the runs that have what `wanted` says (values or their text); None wants nothing."""
    for name, value in wanted.items():
        column, compare = FILTERS[name]
        query = query if value is None else query.where(compare(column, sa.cast(value, column.type)))
    return query


def get_event(event_id: UUID) -> Event | None:
    """Return the event, or None."""
    return next(iter(_views(Event, sa.select(*columns_of(Event, event)).where(event.c.id == event_id))), None)


def list_events(
    *, owner_id: UUID | None = None, name: str | None = None, before: UUID | None = None, limit: int = 50
) -> list[Event]:
    """Return events, newest first, of one owner or of one name if given; pages as `list_runs`."""
    query = sa.select(*columns_of(Event, event))
    query = query if before is None else query.where(event.c.id < before)
    query = query if owner_id is None else query.where(event.c.owner_id == owner_id)
    query = query if name is None else query.where(event.c.name == name)
    return _views(Event, query.order_by(event.c.id.desc()).limit(min(limit, MAX_PAGE)))


def list_waits(run_id: UUID) -> list[WaitView]:
    """Return what a run waits for, has waited for, and would be cancelled by."""
    named = sa.func.regexp_replace(wait.c.topic, "^[^:]*:", "").label("event_name")  # without the owner
    query = sa.select(*columns_of(WaitView, wait, "event_name"), named).where(wait.c.run_id == run_id)
    return _views(WaitView, query.order_by(wait.c.created_at, wait.c.topic))


def list_schedules() -> list[ScheduleView]:
    """Return the schedules of all workflows that have had one; a tick comes only while a process knows the workflow."""
    return _views(ScheduleView, sa.select(schedule).order_by(schedule.c.workflow))


def list_steps(run_id: UUID) -> list[StepView]:
    """Return the steps of a run in the order of its body, those being tried included."""
    session = runtime().ports.session
    tries: dict[str, list[dict[str, Any]]] = {}
    query = sa.select(step_attempt).where(step_attempt.c.run_id == run_id, step_attempt.c.key != BODY)
    for row in session.execute(query.order_by(step_attempt.c.key, step_attempt.c.number)).mappings():
        tries.setdefault(row["key"], []).append({key: row[key] for key in row if key not in ("run_id", "key")})
    output = sa.func.coalesce(step.c.output, blob.c.data).label("output")
    shown = sa.select(*columns_of(StepView, step, "output", "attempts", "usage", "until", "child"), output)
    query = shown.outerjoin(blob, blob.c.id == step.c.blob_id).where(step.c.run_id == run_id)
    rests, state = _rests(run_id), _state(run_id)
    views = [
        _view(dict(row), tries)
        for row in session.execute(query.order_by(step.c.position, step.c.started_at)).mappings()
    ]
    views = [_at_rest(view, rests.pop(view.key, None), state) for view in views]
    done = {view.key for view in views}
    active = {key: at for key, at in ((state and state.active) or {}).items() if key not in done}
    return views + _unfinished(tries, active, rests, state)


def _view(row: dict[str, Any], tries: dict[str, list[dict[str, Any]]]) -> StepView:
    if row["kind"] == "ai" and row["status"] == "completed":
        row |= row["output"]  # and usage
    return StepView(attempts=tries.pop(row["key"], []), **row)


@dataclass(frozen=True)
class _Rest:
    """For what a step lets its run wait: an event, or a run that it has started."""

    kind: str
    since: datetime
    until: datetime | None
    child: UUID | None


def _rests(run_id: UUID) -> dict[str, _Rest]:
    waits = sa.select(wait.c.key, sa.func.min(wait.c.created_at), sa.func.max(wait.c.due_at)).group_by(wait.c.key)
    waits = waits.where(wait.c.run_id == run_id, wait.c.kind == "event")
    children = sa.select(run.c.parent_step, run.c.created_at, run.c.id).where(run.c.parent_run == run_id)
    session = runtime().ports.session
    found = {key: _Rest("wait", since, until, None) for key, since, until in session.execute(waits)}
    invoked = session.execute(children.where(run.c.parent_step.isnot(None)))
    return found | {key: _Rest("invoke", since, None, child) for key, since, child in invoked}


def _state(run_id: UUID) -> Any:
    """Return what the run's row says of its steps, and what time it is."""
    columns = (run.c.active, run.c.status, run.c.finished_at, sa.func.engine_now().label("now"))
    return runtime().ports.session.execute(sa.select(*columns).where(run.c.id == run_id)).first()


def _at_rest(view: StepView, rest: _Rest | None, state: Any) -> StepView:
    """Return a remembered step with the time that it really took. A sleep is remembered when it begins."""
    if rest is not None:
        return replace(view, started_at=rest.since, child=rest.child)
    if view.kind != "sleep" or view.status != "completed" or state is None:
        return view
    until = datetime.fromisoformat(view.output)
    if until <= (state.finished_at or state.now):
        return replace(view, until=until, finished_at=max(until, view.finished_at or until))
    status = "cancelled" if state.finished_at else "sleeping"
    return replace(view, until=until, status=status, finished_at=state.finished_at)


def _unfinished(
    tries: dict[str, list[dict[str, Any]]], active: dict[str, str], rests: dict[str, _Rest], state: Any
) -> list[StepView]:
    views = []
    for key in dict.fromkeys([*tries, *active, *rests]):
        rest, attempts = rests.get(key), tries.get(key, [])
        last = attempts[-1] if attempts else {"error": None, "retry_at": None}
        since = [datetime.fromisoformat(active[key])] if key in active else [rest.since] if rest else []
        status = "running" if key in active and not rest else "waiting" if rest else "backing-off"
        if state and state.status in FINAL:
            status = "failed" if state.status == "dead" and key in active else "cancelled"
        began, ended = since[0] if since else attempts[0]["started_at"], None
        if status == "cancelled":
            ended = state.finished_at
        kind, until, child = (rest.kind, rest.until, rest.child) if rest else ("run", last["retry_at"], None)
        views.append(StepView(key, kind, status, None, None, last["error"], attempts, began, ended, None, until, child))
    return views


def list_workflows() -> list[WorkflowView]:
    """Return the workflows of this process by name, hooks included."""
    paused = set(runtime().ports.session.scalars(sa.select(pause.c.workflow)))
    return [
        WorkflowView(
            name=name,
            on=tuple(on.event for on in found.triggers),
            isolated=found.process,
            hook=found.hook,
            is_paused=name in paused,
            **{field: vars(found)[field] for field in ("cron", "version", "is_hook")},
        )
        for name, found in sorted(registry.by_name.items())
    ]


def list_workers() -> list[WorkerView]:
    """Return the worker and upkeep processes of the last day; alive means heard of within half a minute."""
    now = sa.select(sa.func.engine_now()).scalar_subquery()
    is_alive = (worker.c.seen_at > now - sa.text("interval '30 seconds'")).label("is_alive")
    shown = columns_of(WorkerView, worker, "is_alive")
    return _views(WorkerView, sa.select(*shown, is_alive).order_by(worker.c.name))


def last_upkeep() -> datetime | None:
    """Return when a pass of upkeep was last finished anywhere."""
    found: datetime | None = runtime().ports.session.scalar(sa.select(sa.func.max(worker.c.upkeep_at)))
    return found


def _views(kind: type[View], query: sa.Select[Any]) -> list[View]:
    return views(kind, runtime().ports.session, query)
