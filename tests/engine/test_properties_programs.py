"""Random workflows with random crashes come to what the model says: same results, every remembered step once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine import chaos, play
from tests.engine.programs import programs

pytestmark = pytest.mark.timeout(play.TIMEOUT)
MOST_FAULTS = 4  # a step of the engine's own is tried five times, and a run taken over so often in a row is dead


@pytest.fixture
def house(app, monkeypatch):
    with play.house(monkeypatch):
        yield


def lives(kinds=chaos.KINDS):
    """Return a strategy for the faults of one process after the other: most at their beginning."""
    return st.lists(st.lists(chaos.faults(kinds), max_size=2), max_size=MOST_FAULTS).filter(
        lambda lives: sum(map(len, lives)) <= MOST_FAULTS
    )


@play.bounded(20)
@given(program=programs())
def test_a_random_workflow_comes_to_what_the_model_says(house, program):
    play.empty()
    game = play.Play(program)
    play.finish([game])
    game.check()


@play.bounded(50)
@given(program=programs(), faults=lives())
def test_random_workflows_with_random_crashes_give_the_same_results_and_every_remembered_step_once(
    house, program, faults
):
    play.empty()
    game = play.Play(program)
    play.finish([game], faults)
    game.check()
