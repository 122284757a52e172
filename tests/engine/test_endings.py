"""Endings and their hooks: each takes effect exactly once, whenever a worker dies."""

from __future__ import annotations

import contextlib

import pytest

from app.db import db
from app.engine import NonRetriable, advance, cancel, list_runs, send, store, store_admission, upkeep, workflow
from app.engine.testing import SimulatedCrash, assert_sent, clock, crash_after, drain, run_workflow, sent_events


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


def test_a_hook_waits_between_its_tries_as_long_as_its_workflow_says(calls):
    def hook(ctx, outcome):
        calls.append(ctx.attempt)
        raise OSError("a moment, please")

    @workflow("patient", on="test/patient", retries=0, backoff=(7, 5000), on_failure=hook)
    def patient(ctx, step):
        raise NonRetriable("no")

    send("test/patient", {}, owner_id=None)
    db.session.commit()
    drain()
    for seconds, tries in [(5, 1), (4, 2), (3900, 2), (2200, 3)]:  # give or take a fifth
        clock.advance(seconds)
        drain()
        assert len(calls) == tries, (seconds, tries)


def test_a_hook_may_send_events_exactly_once(calls):
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


@contextlib.contextmanager
def dying(monkeypatch, where, name):
    """ "Kill" the worker once, right after `where.name` has done its work and before anything else."""
    original = getattr(where, name)

    def die(*arguments, **named):
        original(*arguments, **named)
        monkeypatch.setattr(where, name, original)
        raise SimulatedCrash(name)

    monkeypatch.setattr(where, name, die)
    with pytest.raises(SimulatedCrash):
        yield


@pytest.mark.parametrize("moment", ["before the commit", "after the commit"])
def test_a_worker_killed_while_it_ends_a_run_leaves_one_ending_one_event_and_one_hook(monkeypatch, calls, moment):
    @workflow("fails", on="test/fails", on_failure=lambda _ctx, outcome: calls.append(outcome.status))
    def fails(ctx, step):
        raise NonRetriable("no")

    send("test/fails", {}, owner_id=None)
    db.session.commit()
    with dying(
        monkeypatch, *((store_admission, "promote") if moment == "before the commit" else (advance, "finish_repeating"))
    ):
        drain()
    assert list_runs()[-1].status == ("running" if moment == "before the commit" else "failed")
    db.session.rollback()
    drain(advance=True)
    assert [run.status for run in list_runs(workflow="fails")] == ["failed"]
    assert calls == ["failed"]
    assert_sent("run/failed", workflow="fails")


def test_a_worker_killed_while_it_parks_a_run_tries_its_step_no_sooner_and_no_more_often(monkeypatch, calls):
    @workflow("parks", on="test/parks", backoff=(600,), retries=1)
    def parks(ctx, step):
        def work():
            calls.append(ctx.attempt)
            if len(calls) == 1:
                raise OSError("not yet")

        step.run("work", work)

    send("test/parks", {}, owner_id=None)
    db.session.commit()
    with dying(monkeypatch, store, "leave"):
        drain()
    clock.advance(31)
    assert drain() == [("parks", "waiting")]  # rescued, and the step is not due
    assert calls == [1]
    drain(advance=True)
    assert (calls, list_runs()[0].status) == ([1, 2], "completed")


@pytest.mark.parametrize("ending", ["completed", "failed", "cancelled", "dead"])
def test_each_ending_sends_its_own_event_once_but_not_that_of_a_hook(ending, calls):
    @workflow("ends", on="test/ends", retries=0, on_failure=lambda _ctx, outcome: calls.append(outcome.status))
    def ends(ctx, step):
        if ending == "failed":
            raise NonRetriable("no")

    send("test/ends", {}, owner_id=None)
    db.session.commit()
    [run] = list_runs()
    if ending == "cancelled":
        cancel(run.id)
        db.session.commit()
    for _ in range(6 if ending == "dead" else 0):  # more than five take-overs without a new step
        assert len(advance.claim_batch("doomed", 1)) == 1
        clock.advance(31)
        upkeep.run_pass()
    drain()
    assert calls == ([] if ending == "completed" else [ending])
    assert [event["name"] for event in sent_events() if event["name"].startswith("run/")] == [f"run/{ending}"]
    assert_sent(f"run/{ending}", run_id=str(run.id), workflow="ends")
