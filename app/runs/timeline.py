"""When the steps of a run waited and worked, as bars on one line of time. Pure."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime

from app.engine import RunView, StepView

WIDTH = 1000.0  # the drawing is this many units wide
RESTS = ("sleep", "wait", "invoke")  # the kinds of steps that do not work themselves
NARROWEST = 3.0  # so that what took no time can still be seen


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

    A step's queue delay is the time from when it could have begun, the latest end of a step that ended before it
    began (or the run's own beginning), to its first try.
    """
    begin, end = run.created_at, run.finished_at or now
    ended = sorted(step.finished_at for step in steps if step.finished_at)
    return {step.key: _line(step, _ready_at(run, step, ended), begin, max(end, begin), now) for step in steps}


def queue_seconds(run: RunView) -> float | None:
    """Return how long the run itself waited for a worker."""
    return (run.started_at - run.created_at).total_seconds() if run.started_at else None


def _began(step: StepView) -> datetime | None:
    tries = [item["started_at"] for item in step.attempts if item.get("started_at")]
    return min([*tries, *([step.started_at] if step.started_at else [])], default=None)


def _ready_at(run: RunView, step: StepView, ended: list[datetime]) -> datetime:
    began, first = _began(step), run.started_at or run.created_at
    if began is None:
        return first
    before = bisect_right(ended, began)
    return max(ended[before - 1], first) if before else min(first, began)


def _line(step: StepView, ready_at: datetime, begin: datetime, end: datetime, now: datetime) -> Line:
    began = _began(step)
    if began is None:
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
