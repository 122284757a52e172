"""What others may know of runs, steps and workers: frozen views. Permission is the caller's business."""

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa

from app.engine.options import Isolated
from app.engine.registry import registry
from app.engine.runtime import runtime
from app.engine.schema import FINAL, event, pause, run, schedule, step_attempt, wait, worker
from app.engine.store import BODY
from app.engine.store_events import Event
from app.lib import json_text
from app.lib.ids import parse_id
from app.lib.rows import columns_of, views

MAX_PAGE = 500
View = TypeVar("View")


@dataclass(frozen=True)
class RunView:
    """A run. `error`: {class, code, message}, and `traceback` where its body broke; `progress`: app.lib.progress."""

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
    return next(iter(_views(RunView, _RUN.where(run.c.id == parse_id(run_id)))), None)


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
    for name, asked in wanted.items():
        column, compare = FILTERS[name]
        value = json_text.printable(asked) if isinstance(asked, str) else asked  # as none is that cannot be held
        query = query if value is None else query.where(compare(column, sa.cast(value, column.type)))
    return query


def get_event(event_id: UUID) -> Event | None:
    """Return the event, or None."""
    return next(iter(_views(Event, sa.select(*columns_of(Event, event)).where(event.c.id == parse_id(event_id)))), None)


def list_events(
    *, owner_id: UUID | None = None, name: str | None = None, before: UUID | None = None, limit: int = 50
) -> list[Event]:
    """Return events, newest first, of one owner or of one name if given; pages as `list_runs`."""
    wanted = ((event.c.owner_id, owner_id), (event.c.name, name and json_text.printable(name)))
    query = sa.select(*columns_of(Event, event)).where(*(column == it for column, it in wanted if it is not None))
    query = query if before is None else query.where(event.c.id < before)
    return _views(Event, query.order_by(event.c.id.desc()).limit(min(limit, MAX_PAGE)))


def list_waits(run_id: UUID) -> list[WaitView]:
    """Return what a run waits for, has waited for, and would be cancelled by."""
    named = sa.func.regexp_replace(wait.c.topic, "^[^:]*:", "").label("event_name")  # without the owner
    query = sa.select(*columns_of(WaitView, wait, "event_name"), named).where(wait.c.run_id == run_id)
    return _views(WaitView, query.order_by(wait.c.created_at, wait.c.topic))


def list_schedules() -> list[ScheduleView]:
    """Return the schedules of all workflows that have had one; a tick comes only while a process knows the workflow."""
    return _views(ScheduleView, sa.select(schedule).order_by(schedule.c.workflow))


# What is remembered of each step; for what it lets its run wait; whether it is being executed; how it was tried. A
# sleep is remembered when it begins. What is not remembered, or sleeps, when the run ends is cancelled with it.
STEPS = """
WITH owner AS (
  SELECT active, status, finished_at, coalesce(finished_at, engine_now()) AS at FROM run WHERE id = :run_id
), done AS (
  SELECT key, kind, status, position, input, coalesce(output, blob.data) AS output, error, started_at, finished_at,
         CASE WHEN kind = 'sleep' AND status = 'completed' THEN (output #>> '{}')::timestamptz END AS wakes_at
  FROM step LEFT JOIN blob ON blob.id = blob_id WHERE run_id = :run_id
), rest AS (
  SELECT 'wait' AS kind, key, min(created_at) AS since, max(due_at) AS until, NULL::uuid AS child
  FROM wait WHERE run_id = :run_id AND kind = 'event' GROUP BY key
  UNION ALL SELECT 'invoke', parent_step, created_at, NULL, id
  FROM run WHERE parent_run = :run_id AND parent_step IS NOT NULL
), trying AS (
  SELECT key, value::timestamptz AS since FROM owner, json_each_text(active)
), tried AS (
  SELECT DISTINCT ON (key) key, error, retry_at, min(started_at) OVER (PARTITION BY key) AS since
  FROM step_attempt WHERE run_id = :run_id AND key <> :body ORDER BY key, number DESC
)
SELECT key, coalesce(done.kind, rest.kind, 'run') AS kind,
  CASE WHEN wakes_at > at AND owner.finished_at IS NULL THEN 'sleeping'
       WHEN wakes_at <= at OR wakes_at IS NULL AND done.key IS NOT NULL THEN done.status
       WHEN owner.status = 'dead' AND trying.key IS NOT NULL AND done.key IS NULL THEN 'failed'
       WHEN owner.finished_at IS NOT NULL THEN 'cancelled'
       WHEN rest.key IS NOT NULL THEN 'waiting'
       WHEN trying.key IS NOT NULL THEN 'running' ELSE 'backing-off' END AS status,
  input, output, coalesce(rest.since, done.started_at, trying.since, tried.since) AS started_at,
  CASE WHEN done.key IS NULL AND owner.status = 'dead' AND trying.key IS NOT NULL THEN NULL
       WHEN done.key IS NULL OR wakes_at > at THEN owner.finished_at
       ELSE greatest(wakes_at, done.finished_at) END AS finished_at,
  CASE WHEN done.key IS NULL THEN tried.error ELSE done.error END AS error,
  CASE WHEN done.key IS NOT NULL THEN wakes_at WHEN rest.key IS NOT NULL THEN until ELSE retry_at END AS until, child
FROM done FULL JOIN rest USING (key) FULL JOIN trying USING (key) FULL JOIN tried USING (key), owner
ORDER BY position, done.started_at, tried.key, trying.since, rest.since, key
"""


def list_steps(run_id: UUID) -> list[StepView]:
    """Return the steps of a run in the order of its body, those being tried included."""
    session = runtime().ports.session
    tries: dict[str, list[dict[str, Any]]] = {}
    query = sa.select(step_attempt).where(step_attempt.c.run_id == run_id, step_attempt.c.key != BODY)
    for row in session.execute(query.order_by(step_attempt.c.key, step_attempt.c.number)).mappings():
        tries.setdefault(row["key"], []).append({key: row[key] for key in row if key not in ("run_id", "key")})
    rows = session.execute(sa.text(STEPS), {"run_id": run_id, "body": BODY}).mappings()
    return [_view(dict(row), tries.get(row["key"], [])) for row in rows]


def _view(row: dict[str, Any], attempts: list[dict[str, Any]]) -> StepView:
    if row["kind"] == "ai" and row["status"] == "completed":
        row |= row["output"]  # and usage
    return StepView(attempts=attempts, **row)


def list_workflows() -> list[WorkflowView]:
    """Return the workflows of this process by name, hooks included."""
    paused = set(runtime().ports.session.scalars(sa.select(pause.c.workflow)))
    return [
        WorkflowView(
            on=tuple(on.event for on in found.triggers),
            isolated=found.process,
            is_paused=name in paused,
            **{field: getattr(found, field) for field in ("name", "cron", "version", "is_hook", "hook")},
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
