"""When the steps of a run waited and worked, as bars on one line of time. Pure."""

from __future__ import annotations

from bisect import bisect_right, insort
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.engine import RunView, StepView

WIDTH = 1000.0  # the drawing is this many units wide
RESTS = ("sleep", "wait", "invoke")  # the kinds of steps that do not work themselves
NARROWEST = 3.0  # so that what took no time can still be seen

# A step's beginning is told by the worker's clock and its end by the database's: a step that follows at once can seem
# to begin a little before the one that it follows has ended.
SKEW = timedelta(seconds=0.1)


@dataclass(frozen=True)
class Bar:
    """A piece of a step's line. `kind`: queue (waited), try (did not succeed), work; positions from 0 to WIDTH."""

    kind: str
    start: float
    width: float


@dataclass(frozen=True)
class Line:
    """What the timeline shows of one step; seconds, None while unknown."""

    bars: tuple[Bar, ...]
    queue_seconds: float | None
    seconds: float | None


def draw(run: RunView, steps: list[StepView], now: datetime) -> dict[str, Line]:
    """Return the line of each step by its key.

    A step's queue delay is the time from when it could have begun, the latest end of a step that began and ended
    before it (or the run's own beginning), to its first try.
    """
    begin, end = run.created_at, run.finished_at or now
    ready = _ready_at(run, steps)
    return {step.key: _line(step, ready.get(step.key), begin, max(end, begin), now) for step in steps}


def queue_seconds(run: RunView) -> float | None:
    """Return how long the run itself waited for a worker."""
    return (run.started_at - run.created_at).total_seconds() if run.started_at else None


def _began(step: StepView) -> datetime | None:
    tries = [item["started_at"] for item in step.attempts if item.get("started_at")]
    return min([*tries, *([step.started_at] if step.started_at else [])], default=None)


def _ready_at(run: RunView, steps: list[StepView]) -> dict[str, datetime]:
    """Return when each step that has begun could have begun, by its key."""
    begun = [(began, step) for step in steps if (began := _began(step))]
    first, ready = run.started_at or run.created_at, {}
    ended: list[datetime] = []  # of the steps that began before
    for began, step in sorted(begun, key=lambda item: item[0]):
        before = bisect_right(ended, began + SKEW)
        ready[step.key] = min(max(ended[before - 1], first) if before else first, began)
        if step.finished_at:
            insort(ended, step.finished_at)
    return ready


def _line(step: StepView, ready_at: datetime | None, begin: datetime, end: datetime, now: datetime) -> Line:
    began = _began(step)
    if began is None or ready_at is None:
        return Line((), None, None)
    bars = [_bar("queue", ready_at, began, begin, end)] if ready_at < began else []
    bars += [
        _bar("try", item["started_at"], item["finished_at"], begin, end)
        for item in step.attempts
        if item.get("started_at") and item.get("finished_at")
    ]
    if step.started_at and (step.kind in RESTS or step.status in ("completed", "running")):
        kind = "queue" if step.kind in RESTS else "work"
        bars.append(_bar(kind, step.started_at, step.finished_at or now, begin, end))
    finished = step.finished_at or (now if step.status in ("running", "sleeping", "waiting") else None)
    return Line(
        tuple(bars), (began - ready_at).total_seconds(), (finished - began).total_seconds() if finished else None
    )


def _bar(kind: str, start: datetime, stop: datetime, begin: datetime, end: datetime) -> Bar:
    whole = max((end - begin).total_seconds(), 0.001)
    left = min(max((start - begin).total_seconds() / whole, 0.0), 1.0) * WIDTH
    width = max((stop - start).total_seconds() / whole * WIDTH, NARROWEST)
    return Bar(kind, round(min(left, WIDTH - NARROWEST), 1), round(min(width, WIDTH - min(left, WIDTH - NARROWEST)), 1))
