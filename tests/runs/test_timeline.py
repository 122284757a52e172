"""How long a step waited and worked, from the times that two clocks give."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from app.runs import timeline

T0 = datetime(2026, 11, 20, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def step(key: str, begin: float, end: float | None, **more: Any) -> Any:
    values: dict[str, Any] = {"kind": "run", "status": "completed" if end is not None else "running", "attempts": []}
    times = {"started_at": at(begin), "finished_at": None if end is None else at(end)}
    return SimpleNamespace(key=key, **values | times | more)


def waits(*steps: Any) -> list[float | None]:
    run: Any = SimpleNamespace(created_at=at(0), started_at=at(0), finished_at=None)
    lines = timeline.draw(run, list(steps), at(60))
    return [None if (found := lines[one.key].queue_seconds) is None else round(found, 4) for one in steps]


def test_a_step_that_follows_at_once_waited_for_nothing_though_its_clock_is_a_little_behind():
    assert waits(step("a", 0, 2), step("b", 2, 4), step("c", 3.999952, 5)) == [0, 0, 0]


def test_a_step_that_works_still_is_measured_like_one_that_is_done():
    assert waits(step("a", 0, 1), step("b", 1, 4), step("c", 3.998, None)) == [0, 0, 0]


def test_a_step_waited_from_the_end_of_the_last_one_before_it():
    assert waits(step("a", 0, 1), step("b", 3.5, 4)) == [0, 2.5]


def test_what_follows_within_a_blink_does_not_hide_that_the_first_one_waited():
    assert waits(step("a", 2, 2.001), step("b", 2.001, 2.002)) == [2, 0]


def test_steps_side_by_side_do_not_wait_for_each_other():
    assert waits(step("a", 0, 5), step("left", 5, 9), step("right", 5.2, 8), step("join", 9.1, 10)) == [
        0,
        0,
        pytest.approx(0.2),
        pytest.approx(0.1),
    ]


def test_a_step_is_measured_from_its_first_try():
    tries = [{"started_at": at(1), "finished_at": at(1.5)}]
    assert waits(step("a", 0, 1), step("b", 5, 6, attempts=tries)) == [0, 0]
