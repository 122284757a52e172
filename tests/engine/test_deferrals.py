"""Deferrals: RetryAfter and a shared limiter's refusal park a run and cost no attempt, for 24 hours in all."""

from __future__ import annotations

import contextlib
import threading
from datetime import timedelta

import pytest

from app.engine import EngineError, RetryAfter, list_runs, list_steps, memory, send, store, testing, workflow
from app.engine.runtime import runtime
from app.engine.testing import SimulatedCrash, clock, drain, run_workflow
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


def test_a_body_that_was_put_off_is_not_called_earlier_because_its_worker_died_before_it_parked(monkeypatch):
    calls = []

    @workflow("patient", on="test/patient", retries=0)
    def patient(ctx, step):
        calls.append(1)
        raise RetryAfter(600)

    def die(*_, **__):
        raise SimulatedCrash

    send("test/patient", {}, owner_id=None)
    with monkeypatch.context() as dying, contextlib.suppress(SimulatedCrash):
        dying.setattr(store, "leave", die)
        drain()
    clock.advance(31)  # its lease is over, the ten minutes are not
    assert drain() == [("patient", "waiting")]
    assert len(calls) == 1
    clock.advance(600)
    drain()
    assert len(calls) == 2


def test_a_body_that_was_put_off_stays_so_when_something_wakes_its_run():
    calls = []

    @workflow("woken", on="test/woken", retries=0)
    def woken(ctx, step):
        calls.append(1)
        with runtime().pool.connection() as connection:
            store.wake(connection, [ctx.run_id])
        raise RetryAfter(600)

    send("test/woken", {}, owner_id=None)
    assert drain() == [("woken", "waiting")]
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("5m", 300), (timedelta(hours=2), 7200), ("3d", 86_400), (0, 1), (-5, 1), (10**400, 86_400), ("0s", 1)],
)
def test_retry_after_takes_what_durations_take(said, seconds):
    assert RetryAfter(said).seconds == seconds
    assert str(RetryAfter(said)) == f"try again in {seconds:g} s"


def test_retry_after_says_how_to_write_a_duration():
    with pytest.raises(EngineError, match="RetryAfter: 'soon' is no duration: write '90s'"):
        RetryAfter("soon")


@pytest.mark.parametrize("is_in_step", [True, False])
def test_many_deferrals_share_a_row_and_end_after_24_hours_in_all_as_well(monkeypatch, is_in_step):
    monkeypatch.setattr(memory, "MANY_DEFERRALS", 3)
    tries = []

    @workflow("eager", on="test/eager", retries=1, backoff=(1,))
    def eager(ctx, step):
        def work():
            tries.append(ctx.attempt)
            if len(tries) == 5:
                raise ValueError
            raise RetryAfter(3600, f"Not now, {len(tries)}.")

        step.run("work", work) if is_in_step else work()

    run = run_workflow(eager, {})
    assert (run.status, run.error["code"]) == ("failed", "retry_after")
    # 23 times an hour and a little, a try that failed, and one that was not put off any more.
    assert tries == [1] * 5 + [2] * 20
    with runtime().pool.connection() as connection:
        rows = connection.execute("SELECT number, is_deferral FROM step_attempt ORDER BY number").fetchall()
    if is_in_step:
        # Four share three rows; a failure; those after it have one.
        assert rows == [(1, True), (2, True), (3, True), (4, False), (5, True), (6, False)]
        [step] = list_steps(run.id)
        assert [try_["error"]["message"] for try_ in step.attempts][2:] == [
            "Not now, 4.",
            "",
            "Not now, 24.",
            "Not now, 25.",
        ]
    else:
        assert len(rows) == 3


def test_a_try_that_is_abandoned_is_told_from_the_deferrals_before_it(monkeypatch):
    """Its late result is refused by its number, which comes after that of the row which they share."""
    monkeypatch.setattr(memory, "MANY_DEFERRALS", 1)
    tries, release = [], threading.Event()

    @workflow("timed", on="test/timed", retries=0)
    def timed(ctx, step):
        def work():
            tries.append(1)
            if len(tries) < 4:
                raise RetryAfter(60)
            release.wait(10)

        step.run("work", work, timeout=0.01 if len(tries) == 3 else "1m")

    run = run_workflow(timed, {})
    release.set()
    assert (run.error["code"], len(tries)) == ("timeout", 4)
    [step] = list_steps(run.id)
    assert [(try_["number"], try_["is_deferral"]) for try_ in step.attempts] == [(1, True), (2, False)]


def test_a_drain_that_would_go_on_for_ever_says_why(monkeypatch):
    monkeypatch.setattr(testing, "MAX_PASSES", 3)

    @workflow("endless", on="test/endless")
    def endless(ctx, step):
        raise RetryAfter(0)

    with pytest.raises(
        AssertionError, match=r"of 'endless' has not ended after 3 passes. A RetryAfter that never ends"
    ):
        run_workflow(endless, {})
