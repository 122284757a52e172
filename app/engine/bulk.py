"""Doing one thing to many runs: a workflow of the engine's own, so that a crash neither loses nor repeats any of it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from app.engine import actions, endings, reads, sending, starting
from app.engine.errors import EngineError, RunActive, UnknownRun
from app.engine.execution import Context
from app.engine.registry import Workflow, registry
from app.engine.schema import run
from app.engine.steps import Step

EVENT = "engine/bulk"
NAME = "engine-bulk"
PAGE = 50
PER_SECOND = 10.0
SLOWEST = 0.001  # of it


@dataclass(frozen=True)
class Found:
    """What of a run decides about what is done to it."""

    id: UUID
    error: dict[str, Any] | None
    active: dict[str, str] | None


def bulk(action: str, filter: Mapping[str, Any], *, owner_id: UUID | None, per_second: float = PER_SECOND) -> UUID:
    """Cancel, pause, resume, replay or retry all runs that `filter` finds now, in the caller's transaction.

    Returns the id of the run that does it, `per_second` runs at a time and the newest first: it shows the progress, and
    can be paused and cancelled. What it starts itself it does not find, and each run is met once, whatever happens to
    its workers. Hooks and invoked runs are not replayed or retried: they belong to another run.

    Args:
        action: `cancel`, `pause`, `resume` (also of dead runs), `replay` (from the event), or `retry` (of failed and
            dead runs, from the step that failed).
        filter: as the arguments of `list_runs`. Without `owner_id` only the runs of `owner_id` are meant; None says
            everybody's. Whether that may be is the caller's business.
        owner_id: whose run it is that does it.
        per_second: how many runs it comes to each second, on the average.

    Raises:
        EngineError: an unknown action or filter, what no run can have there, or not a positive number per second.
    """
    if action not in ACTIONS:
        raise EngineError(f"{action!r} is no bulk action; choose one of {', '.join(ACTIONS)}.")
    unknown = set(filter) - set(reads.FILTERS)
    if unknown or not SLOWEST <= per_second < math.inf:  # nor NaN
        told = f"per_second must be a number of at least {SLOWEST}."
        raise EngineError(f"Filter by {', '.join(reads.FILTERS)}, not by {unknown}; {told}")
    wanted = {name: _text(name, value) for name, value in {"owner_id": owner_id, **filter}.items()}
    session, connection = sending.begin()
    data = {"action": action, "filter": wanted, "per_second": per_second}
    after = starting.start_one(connection, BULK, EVENT, data, owner_id=owner_id)
    sending.after(session).add(after)
    return after.started[0].id


def _text(name: str, value: object) -> str | None:
    """Return what a filter asks for as text that its column takes."""
    kind, text = reads.FILTERS[name][0].type.python_type, str(value)
    parsers: dict[type, Callable[[str], object]] = {UUID: UUID, datetime: datetime.fromisoformat}
    try:
        if "\0" in text:
            raise ValueError(text)  # noqa: TRY301  (PostgreSQL cannot take it in any column)
        return None if value is None else str(parsers.get(kind, str)(text))
    except ValueError as error:
        raise EngineError(f"Filter by {name} with a {kind.__name__}, not with {value!r}.") from error


def _work_through(ctx: Context, step: Step) -> dict[str, int]:
    action, per_second = ctx.event.data["action"], ctx.event.data["per_second"]
    begun = step.transaction("begin", _begin, action, ctx.event.data["filter"])
    page = {"before": None, "met": 0, "done": 0}
    while True:
        page = step.transaction("page", _do_page, action, begun, page)
        met, done = page["met"], page["done"]
        ctx.progress(current_step=action, done=met, total=begun["total"], message=f"{action}: {done} of {met} runs")
        if page["before"] is None:
            return {"met": met, "done": done}
        step.sleep("pace", timedelta(seconds=PAGE / per_second))


def _begin(session: Session, action: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """Remember until when runs count, by the database's clock: what this run starts itself is younger."""
    begun = {"filter": wanted, "until": str(session.scalar(sa.select(sa.func.engine_now())))}
    return {**begun, "total": session.scalar(_query(action, begun).with_only_columns(sa.func.count()))}


def _do_page(session: Session, action: str, begun: dict[str, Any], last: dict[str, Any]) -> dict[str, Any]:
    query = _query(action, begun)
    if last["before"] is not None:
        query = query.where(run.c.id < UUID(last["before"]))
    found = [Found(*row) for row in session.execute(query.order_by(run.c.id.desc()).limit(PAGE))]
    # All at once and in order: one by one, two of these could deadlock.
    endings.lock(sending.driver(session), [each.id for each in found])
    before = str(found[-1].id) if len(found) == PAGE else None
    done = sum(_has_done(action, each) for each in found)
    return {"before": before, "met": last["met"] + len(found), "done": last["done"] + done}


def _has_done(action: str, found: Found) -> bool:
    try:
        return bool(ACTIONS[action](found))
    except (UnknownRun, RunActive):  # of code that is gone, without its event, or running again meanwhile
        return False


def _query(action: str, begun: dict[str, Any]) -> sa.Select[Any]:
    query = reads.matching(sa.select(run.c.id, run.c.error, run.c.active), begun["filter"])
    # One must not end itself.
    query = reads.matching(query, {"created_before": begun["until"]}).where(run.c.workflow != NAME)
    return query.where(run.c.parent_run.is_(None)) if action in ("replay", "retry") else query


def _retry(found: Found) -> object:
    """Rerun a run from the step at which it failed or died; one whose body failed outside any step has none."""
    failed = (found.error or {}).get("step") or next(iter(found.active or {}), None)
    return failed and actions.rerun_from(found.id, failed)


ACTIONS = {
    "cancel": lambda found: actions.cancel(found.id, "cancelled in bulk"),
    "pause": lambda found: actions.pause(found.id),
    "resume": lambda found: actions.resume(found.id),
    "replay": lambda found: actions.replay(found.id),
    "retry": _retry,
}
BULK = Workflow(NAME, function=_work_through)
registry.add(BULK)
