"""What the helpers of tests promise to those who test their own workflows."""

from __future__ import annotations

import contextlib

import pytest

from app.db import db
from app.engine import StepError, list_runs, list_steps, send, workflow
from app.engine.testing import clock, crash_after, drain


@pytest.mark.parametrize("is_branch", [False, True])
def test_crash_after_kills_after_a_step_that_is_remembered_as_failed(is_branch):
    calls = []

    def fragile(s, _item=None):
        with contextlib.suppress(StepError):
            s.run("fragile", lambda: calls.append("step") or 1 / 0)
        calls.append("went on")

    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        step.map("part", fragile, [0]) if is_branch else fragile(step)

    send("test/w", {}, owner_id=None)
    db.session.commit()
    with crash_after("part[0]/fragile" if is_branch else "fragile"):
        drain()
    [run] = list_runs()
    assert (calls, run.status) == (["step"], "running")
    assert [step.status for step in list_steps(run.id) if step.kind == "run"] == ["failed"]
    drain(advance=True)
    assert (calls, list_runs()[0].status) == (["step", "went on"], "completed")


@pytest.mark.parametrize("seconds", [-3600, float("nan")])
def test_the_clock_does_not_go_back_but_by_reset(seconds):
    with pytest.raises(ValueError, match=r"does not go back .* call reset\(\)"):
        clock.advance(seconds)
    assert clock.offset == 0
