"""Endings and their hooks: each takes effect exactly once, whenever a worker dies."""

from __future__ import annotations

import pytest

from app.engine import (
    NonRetriable,
    list_runs,
    send,
    workflow,
)
from app.engine.testing import drain, run_workflow, sent_events


@pytest.fixture
def calls():
    return []


def test_a_failing_hook_is_retried_and_does_not_loop():
    attempts = []

    def hook(ctx, outcome):
        attempts.append(ctx.attempt)
        raise RuntimeError("broken hook")

    @workflow("doomed", on="test/doomed", retries=5, on_failure=hook)
    def doomed(ctx, step):
        raise NonRetriable("no")

    run_workflow(doomed, {})
    assert attempts == [1, 2, 3, 4, 5, 6]
    assert [(run.workflow, run.status) for run in list_runs()] == [("doomed-failed", "failed"), ("doomed", "failed")]
    assert [event["name"] for event in sent_events() if event["name"].startswith("run/")] == ["run/failed"]


def test_a_hook_is_tried_as_often_as_is_usual_even_if_its_workflow_is_not(calls):
    """No row may stay as it was because the database stumbled once while the hook put it right."""

    def hook(ctx, outcome):
        calls.append(ctx.attempt)
        if ctx.attempt < 5:
            raise OSError("a moment, please")

    @workflow("strict", on="test/strict", retries=0, on_failure=hook)
    def strict(ctx, step):
        raise NonRetriable("no")

    run_workflow(strict, {})
    assert calls == [1, 2, 3, 4, 5]
    assert list_runs(workflow="strict-failed")[0].status == "completed"


def test_a_hook_may_send_events_exactly_once(calls):
    from app.engine.testing import crash_after

    def hook(ctx, outcome):
        send("test/after", {"run": str(outcome.run_id)}, owner_id=None)

    @workflow("sends", on="test/sends", retries=0, on_failure=hook)
    def sends(ctx, step):
        step.run("break", lambda: 1 / 0)

    send("test/sends", {}, owner_id=None)
    with crash_after("on-failure"):
        drain()
    drain(advance=True)
    assert len(sent_events("test/after")) == 1


def test_an_error_outside_any_step_retries_the_body_with_its_own_count(calls):
    @workflow("clumsy", on="test/clumsy", retries=2)
    def clumsy(ctx, step):
        step.run("fine", calls.append, "step")
        calls.append(ctx.attempt)
        raise KeyError("oops")

    run = run_workflow(clumsy, {})
    assert calls == ["step", 1, 2, 3]
    assert (run.status, run.error["class"], run.attempt) == ("failed", "KeyError", 2)
