"""Deferrals: RetryAfter and a shared limiter's refusal park a run and cost no attempt, for 24 hours in all."""

from __future__ import annotations

import pytest

from app.engine import RetryAfter, list_runs, list_steps, send, workflow
from app.engine.runtime import runtime
from app.engine.testing import drain, run_workflow
from app.errors import Busy


@pytest.mark.parametrize("error", [RetryAfter(5 * 3600), Busy("Not your turn.", 5 * 3600)])
def test_deferrals_outside_any_step_park_and_cost_no_attempt_for_24_hours_in_all(error):
    attempts = []

    @workflow("deferred-body", on="test/deferred-body", retries=1, backoff=(1,))
    def always(ctx, step):
        attempts.append(ctx.attempt)
        raise error

    run = run_workflow(always, {})
    assert (run.status, run.error["code"]) == ("failed", error.code)
    assert attempts == [1, 1, 1, 1, 1, 2]  # at 0, 5, 10, 15 and 20 hours; then it counts as a failure, and fails again
    assert list_steps(run.id) == []


def test_a_deferred_body_goes_on_where_it_was():
    taken = []

    @workflow("deferred-once", on="test/deferred-once", retries=0)
    def once(ctx, step):
        first = step.run("first", lambda: taken.append("first") or 1)
        if len(taken) < 2:
            taken.append("body")
            raise Busy("Not your turn.")
        return first

    run = run_workflow(once, {})
    assert (run.status, run.output, taken) == ("completed", 1, ["first", "body"])
    assert [step.key for step in list_steps(run.id)] == ["first"]


@pytest.mark.parametrize("after", [None, 0, 0.01, 10**9])
def test_a_limiters_refusal_parks_for_one_second_at_least_and_24_hours_at_most(after):
    times = []

    @workflow("refused", on="test/refused", retries=0)
    def refused(ctx, step):
        def wait():
            times.append(ctx.execution.now())
            if len(times) < 2:
                raise Busy("Not your turn.", after)

        step.run("wait", wait)

    assert run_workflow(refused, {}).status == "completed"
    waited = (times[1] - times[0]).total_seconds()
    assert (86_399 if after == 10**9 else 0.9) <= waited <= (86_460 if after == 10**9 else 60)


def test_time_that_a_run_did_not_spend_deferred_does_not_count():
    """24 hours in all are those that it was deferred, not those since it first was."""
    passes = []

    @workflow("patient", on="test/patient", retries=1, backoff=(48 * 3600,))
    def patient(ctx, step):
        passes.append(ctx.attempt)
        if len(passes) == 2:
            raise RuntimeError("Something else is the matter for two days.")
        if len(passes) < 4:
            raise RetryAfter(10 * 3600)

    assert run_workflow(patient, {}).status == "completed"
    assert passes == [1, 1, 2, 2]


def test_a_worker_that_lost_its_run_defers_it_no_more():
    @workflow("stale-deferral", on="test/stale-deferral")
    def stale(ctx, step):
        with runtime().pool.connection() as connection:
            connection.execute("UPDATE run SET epoch = epoch + 1 WHERE id = %s", [ctx.run_id])
        raise RetryAfter(60)

    send("test/stale-deferral", {}, owner_id=None)
    assert drain() == [("stale-deferral", "lost")]
    [run] = list_runs()
    with runtime().pool.connection() as connection:
        assert connection.execute("SELECT 1 FROM step_attempt WHERE run_id = %s", [run.id]).fetchone() is None
