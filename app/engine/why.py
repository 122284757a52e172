"""Why a run is not executing: what holds it, who is before it, and when that may end."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from app.engine.reads import list_waits, list_workers
from app.engine.registry import registry
from app.engine.runtime import runtime
from app.engine.schema import FINAL, RUNS_ON, pause, run, step_attempt
from app.engine.store import BODY

_INVOKING = "It waits for a run that it has started."
MOST = 10  # of the runs in the way that are named


@dataclass(frozen=True)
class Why:
    """What holds a run.

    `reason` is one of paused, workflow-paused, debounce, throttle, backing-off, waiting, sleeping, no-worker,
    no-worker-knows-it, concurrency, queue.
    """

    reason: str
    sentence: str  # for people
    next_at: datetime | None = None  # when it goes on; None: that is up to others
    limit: str | None = None  # that holds it, in words
    occupied_by: tuple[UUID, ...] = ()  # the runs that have the slots of that limit, ten at most
    child: UUID | None = None  # the run that it has started and waits for
    position: int | None = None  # in that queue: 1 is next


def why_not_started(run_id: UUID) -> Why | None:
    """Return what keeps a run from executing, or None: it is executing, has ended, or does not exist."""
    row = runtime().ports.session.execute(sa.select(run).where(run.c.id == run_id)).first()
    if row is None or row.status == "running" or row.status in FINAL:
        return None
    if row.status == "paused":
        return Why("paused", "Somebody has paused this run. It goes on when it is resumed.")
    if row.status != "queued":
        return _why_until(row)
    if runtime().ports.session.scalar(sa.select(pause.c.workflow).where(pause.c.workflow == row.workflow)):
        place = _place(row, run.c.workflow == row.workflow)
        return Why("workflow-paused", f"The workflow {row.workflow} is paused. Resume it.", position=place)
    place = _place(row, run.c.held_by.is_(None))
    queued = Why("queue", f"It is number {place} of all that wait for a free worker.", position=place)
    return _why_no_worker(row.workflow) or _why_full(row) or queued


def _why_until(row: Any) -> Why:
    session = runtime().ports.session
    names = sorted({wait.event_name for wait in list_waits(row.id) if (wait.kind, wait.status) == ("event", "open")})
    invoked = sa.select(run.c.id).where(run.c.parent_run == row.id, run.c.parent_step.isnot(None), sa.text(RUNS_ON))
    child = session.scalar(invoked.limit(1))
    tries = sa.select(step_attempt.c.key).where(step_attempt.c.run_id == row.id)
    key = session.scalar(tries.where(step_attempt.c.retry_at == row.due_at).limit(1))
    reasons = (
        (row.status == "debounced", "debounce", "It waits for further events of its kind, to start with the last one."),
        (not row.started_at, "throttle", f"The starts of {row.workflow} are spaced out, and its turn has not come."),
        (key, "backing-off", f"Its step {key} did not succeed and is tried again."),
        (key == BODY, "backing-off", "Its body has put itself off and is tried again."),
        (names, "waiting", f"It waits for the event {' or '.join(names)}."),
        (child, "waiting", _INVOKING),
        (row.attempt, "backing-off", "Its body failed and is tried again."),
        (True, "sleeping", "It sleeps."),
    )
    reason, sentence = next((reason, sentence) for holds, reason, sentence in reasons if holds)
    return Why(reason, sentence, next_at=row.due_at, child=child if sentence is _INVOKING else None)


def _why_no_worker(workflow: str) -> Why | None:
    alive = [worker for worker in list_workers() if worker.is_alive and worker.kind != "upkeep"]
    if not alive:
        return Why("no-worker", "No worker is running. Start one: throughline worker.")
    if not any(worker.workflows is None or workflow in worker.workflows for worker in alive):
        told = f"No running worker takes the workflow {workflow}. Start one of newer code, or one for isolated runs."
        return Why("no-worker-knows-it", told)
    return None


def _why_full(row: Any) -> Why | None:
    """Return the first limit that has no slot left, or that has set the run aside."""
    is_held = bool(row.held_by and "#" in row.held_by)  # else upkeep is about to let it go on
    for key in [row.held_by] if is_held else filter(None, (row.flow_a, row.flow_b)):
        of_key = sa.or_(run.c.flow_a == key, run.c.flow_b == key)
        busy = sa.select(run.c.id).where(of_key, run.c.status == "running", run.c.lease_until > sa.func.engine_now())
        ids = tuple(runtime().ports.session.scalars(busy.order_by(run.c.started_at)))
        limit = registry.limit_of(key)
        if is_held or (limit is not None and len(ids) >= limit):
            words, place = _limit_in_words(key), _place(row, of_key)
            sentence = f"Its limit is {words}; it is number {place} in that queue."
            return Why("concurrency", sentence, limit=words, occupied_by=ids[:MOST], position=place)
    return None


def _limit_in_words(key: str) -> str:
    name, value, limit = key.partition("#")[0], key.partition(":")[2], registry.limit_behind(key)
    if limit is None:
        return f"one of {name} that this code does not know"
    return f"{limit.limit} of {name} at once" + (f" for the {limit.key} {value}" if limit.key else "")


def _place(row: Any, among: sa.ColumnElement[bool]) -> int:
    before = sa.tuple_(run.c.sort_at, run.c.id) <= sa.tuple_(sa.literal(row.sort_at), sa.literal(row.id))
    query = sa.select(sa.func.count()).select_from(run).where(run.c.status == "queued", among, before)
    return runtime().ports.session.scalar(query) or 0
