"""Progress: what is said is what pages see, and the time left is measured on work, not on replaying."""

from __future__ import annotations

import json

import pytest

from app.lib import progress as module
from app.lib.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when a test says so."""
    times = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: times[0])
    return times


def state_of(progress: Progress) -> dict:
    return json.loads(progress.last() or "null")


def count(progress: Progress, clock: list[float], *steps: tuple[float, int], total: int = 10) -> None:
    for seconds, done in steps:
        clock[0] += seconds
        progress.say(current_step="knead", done=done, total=total)


def test_the_time_left_is_what_the_rest_takes_at_the_speed_so_far(clock):
    progress = Progress()
    count(progress, clock, (0, 0), (4, 1), (4, 2))
    assert state_of(progress)["eta_seconds"] == 32.0


def test_after_a_take_over_replayed_counts_are_no_speed(clock):
    before = Progress()
    count(before, clock, (0, 0), (4, 1), (4, 2), (4, 3), (4, 4))
    taken_over = Progress(state_of(before))
    count(taken_over, clock, (0.001, 0), (0.001, 1), (0.001, 2), (0.001, 3), (0.001, 4))
    assert state_of(taken_over)["eta_seconds"] is None
    count(taken_over, clock, (4, 5))
    assert state_of(taken_over)["eta_seconds"] == pytest.approx(20.0, abs=0.1)


def test_replayed_counts_of_the_steps_before_are_no_speed_either(clock):
    before = Progress()
    before.say(current_step="mix", done=1, total=2)
    before.say(current_step="mix", done=2, total=2)
    count(before, clock, (0, 0), (4, 1))
    taken_over = Progress(state_of(before))
    for done in (1, 2):
        clock[0] += 0.001
        taken_over.say(current_step="mix", done=done, total=2)
    assert state_of(taken_over)["eta_seconds"] is None
    count(taken_over, clock, (0.001, 0), (0.001, 1), (4, 2))
    assert state_of(taken_over)["eta_seconds"] == pytest.approx(32.0, abs=0.1)


def test_a_step_that_the_run_had_not_reached_is_measured_from_its_first_count(clock):
    before = Progress()
    count(before, clock, (0, 0), (4, 9))
    taken_over = Progress(state_of(before))
    count(taken_over, clock, (0.001, 0))
    for seconds, done in ((1, 0), (2, 1), (2, 2)):
        clock[0] += seconds
        taken_over.say(current_step="bake", done=done, total=4)
    assert state_of(taken_over)["eta_seconds"] == 4.0


def test_a_new_step_does_not_begin_with_the_time_left_of_the_last_one(clock):
    progress = Progress()
    count(progress, clock, (0, 0), (4, 1))
    progress.say(current_step="bake")
    assert state_of(progress)["eta_seconds"] is None
