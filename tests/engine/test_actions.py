"""Cancelling, running again from a step, endings and their hooks."""

from __future__ import annotations

import queue
import threading

import pytest
import sqlalchemy as sa
from flask import current_app

from app.db import db
from app.engine import (
    Concurrency,
    NonRetriable,
    OutsideCallRefused,
    RetryAfter,
    RunActive,
    StepError,
    UnknownRun,
    advance,
    cancel,
    get_run,
    list_runs,
    list_steps,
    rerun_from,
    send,
    store,
    workflow,
)
from app.engine import runtime as runtimes
from app.engine.runtime import runtime
from app.engine.testing import assert_sent, drain, run_workflow, sent_events
from app.lib import outside
from app.lib.ids import new_id
from tests.engine.locks import wait_for_lock_of


@pytest.fixture
def calls():
    return []


@pytest.fixture
def pipeline(calls):
    """Three steps, the middle one a map, the last one fails on demand."""

    def work(name, value):
        calls.append(name)
        return value

    def maybe(ctx, value):
        calls.append("last")
        if ctx.event.data.get("fail"):
            raise NonRetriable("on demand")
        return value

    @workflow("pipeline", on="test/pipeline", subject="thing:{event.data.id}", idempotency="event.data.id")
    def pipeline(ctx, step):
        first = step.run("first", work, "first", 1)
        parts = step.map("part", lambda s, n: s.run("inner", work, f"inner-{n}", n), [10, 20])
        return step.run("last", maybe, ctx, first + sum(parts))

    return pipeline


def test_a_rerun_copies_the_memos_before_the_step(pipeline, calls):
    run = run_workflow(pipeline, {"id": 1, "fail": True})
    assert run.status == "failed"
    calls.clear()
    again = rerun_from(run.id, "last")
    drain()
    assert calls == ["last"]
    found = get_run(again)
    assert (found.forked_from, found.subject, found.event_id) == (run.id, "thing:1", run.event_id)


def test_a_rerun_from_a_branch_keeps_the_branches_beside_it(pipeline, calls):
    run = run_workflow(pipeline, {"id": 1})
    calls.clear()
    rerun_from(run.id, "part[0]/inner")
    drain()
    assert calls == ["inner-10", "last"]


def test_a_rerun_takes_edited_input(pipeline, calls):
    run = run_workflow(pipeline, {"id": 1})
    again = rerun_from(run.id, "first", ["edited", 1000])
    drain()
    assert get_run(again).output == 1030
    assert "edited" in calls


def test_a_rerun_takes_edited_input_with_named_arguments_as_the_page_shows_it():
    seen = []

    @workflow("named", on="test/named")
    def named(ctx, step):
        return step.run("add", lambda a, *, b, c=0: seen.append((a, b, c)), 1, b=2)

    run = run_workflow(named, {})
    assert list_steps(run.id)[0].input == [1, {"b": 2}]
    again = rerun_from(run.id, "add", [1, {"b": 5, "c": 7}])
    drain()
    assert get_run(again).status == "completed"
    assert seen == [(1, 2, 0), (1, 5, 7)]


def test_a_rerun_in_a_rolled_back_transaction_means_nothing(pipeline):
    run = run_workflow(pipeline, {"id": 1})
    rerun_from(run.id, "last")
    db.session.rollback()
    assert len(list_runs()) == 1


def test_a_rerun_of_a_run_that_goes_on_or_of_an_unknown_step_is_refused(pipeline):
    run = run_workflow(pipeline, {"id": 1})
    with pytest.raises(UnknownRun):
        rerun_from(run.id, "nothing")
    with pytest.raises(UnknownRun):
        rerun_from(new_id(), "last")
    again = rerun_from(run.id, "last")
    db.session.commit()
    with pytest.raises(RunActive):
        rerun_from(again, "last")


def test_a_rerun_goes_on_at_a_step_that_was_backing_off_when_its_run_was_cancelled(calls):
    """The step has tries and no memo yet; what was done before it, and in the branches beside it, is kept."""
    broken = [True]

    @workflow("patient", on="test/patient", backoff=(60,))
    def patient(ctx, step):
        def work(name):
            calls.append(name)
            if name == "b" and broken:
                raise RetryAfter(60)
            return name

        step.run("first", work, "first")
        return step.parallel("part", {name: lambda s, name=name: s.run("work", work, name) for name in "abc"})

    send("test/patient", {}, owner_id=None)
    drain()
    [run] = list_runs()
    assert cancel(run.id)
    db.session.commit()
    broken.clear()
    calls.clear()
    again = rerun_from(run.id, "part[b]/work")
    drain()
    assert get_run(again).output == {"a": "a", "b": "b", "c": "c"}
    assert calls == ["b"]


def test_a_rerun_keeps_a_failure_that_the_body_had_caught_before_the_step(calls):
    @workflow("forgiving", on="test/forgiving", retries=0)
    def forgiving(ctx, step):
        def work(name):
            calls.append(name)
            if name == "fragile" and len(calls) == 1:
                raise NonRetriable("once")

        try:
            step.run("fragile", work, "fragile")
        except StepError:
            step.run("instead", work, "instead")
        step.run("last", work, "last")

    run = run_workflow(forgiving, {})
    calls.clear()
    rerun_from(run.id, "last")
    drain()
    assert calls == ["last"]


def test_a_rerun_of_a_hook_still_knows_the_run_that_it_cleans_up_after():
    seen = []

    def hook(ctx, outcome):
        seen.append(outcome.run_id)
        if len(seen) == 1:
            raise NonRetriable("broken hook")

    @workflow("doomed", on="test/doomed", retries=0, on_failure=hook)
    def doomed(ctx, step):
        raise NonRetriable("no")

    run = run_workflow(doomed, {})
    rerun_from(list_runs(workflow="doomed-failed")[0].id, "on-failure")
    drain()
    assert seen == [run.id, run.id]


def test_a_queued_run_is_cancelled_at_once_and_its_hook_runs_once(calls):
    @workflow("lazy", on="test/lazy", on_failure=lambda _ctx, outcome: calls.append((outcome.status, outcome.error)))
    def lazy(ctx, step):
        raise AssertionError

    send("test/lazy", {}, owner_id=None)
    db.session.commit()
    run = list_runs()[0]
    assert cancel(run.id, "no longer wanted")
    assert not cancel(run.id, "twice")
    db.session.commit()
    drain()
    assert get_run(run.id).status == "cancelled"
    assert calls == [("cancelled", {"class": "Cancelled", "code": "cancelled", "message": "no longer wanted"})]
    assert_sent("run/cancelled", run_id=str(run.id), reason="no longer wanted")


def test_a_waiting_run_is_cancelled_at_once():
    @workflow("waits", on="test/waits")
    def waits(ctx, step):
        def later():
            raise RetryAfter(3600)

        step.run("later", later)

    send("test/waits", {}, owner_id=None)
    drain()
    assert cancel(list_runs()[0].id)
    drain(advance=True)
    assert list_runs()[0].status == "cancelled"


def test_cancelling_takes_its_locks_in_the_order_of_everybody_else():
    """Flow keys, then runs: the other order deadlocks with whoever holds the key and wants the run."""

    @workflow("keyed", on="test/keyed", concurrency=[Concurrency(1)])
    def keyed(ctx, step):
        pass

    send("test/keyed", {}, owner_id=None)
    db.session.commit()
    [run] = list_runs()
    db.session.rollback()
    app = current_app._get_current_object()

    def cancel_it():
        with app.app_context():
            pids.put(db.session.scalar(sa.text("SELECT pg_backend_pid()")))
            cancelled.append(cancel(run.id))
            db.session.commit()

    pids, cancelled = queue.Queue(), []
    thread = threading.Thread(target=cancel_it)
    other = runtime().pool._open()
    with other.transaction():
        other.execute(store.LOCK_FLOWS, [["keyed#0:"]])
        thread.start()
        wait_for_lock_of(pids.get(timeout=10))
        other.execute("SET LOCAL lock_timeout = '2s'")
        other.execute("UPDATE run SET sort_at = sort_at WHERE id = %s", [run.id])
    thread.join()
    other.close()
    assert cancelled == [True]


def test_a_canceller_that_freezes_does_not_hold_its_locks_for_long(monkeypatch):
    """With the lock of a flow key it would stop all claims of the key."""

    @workflow("keyed", on="test/keyed", concurrency=[Concurrency(1)])
    def keyed(ctx, step):
        pass

    for _ in range(2):
        send("test/keyed", {}, owner_id=None)
    db.session.commit()
    monkeypatch.setattr(runtimes, "FROZEN_SECONDS", 0.2)
    assert cancel(list_runs()[0].id)
    assert len(advance.claim_batch("mine", 1)) == 1  # it waits until PostgreSQL has ended our transaction
    with pytest.raises(sa.exc.DBAPIError):
        db.session.commit()
    db.session.rollback()


def test_an_outside_call_is_refused_while_a_cancellation_or_a_rerun_is_not_committed(pipeline):
    """The call ends a transaction that only read: it would take them for nothing, and drop them."""
    run = run_workflow(pipeline, {"id": 1})
    again = rerun_from(run.id, "last")
    with pytest.raises(OutsideCallRefused):
        outside.before_outside_call()
    db.session.commit()
    assert cancel(again)
    with pytest.raises(OutsideCallRefused):
        outside.before_outside_call()
    db.session.commit()
    outside.before_outside_call()
    assert get_run(again).status == "cancelled"


def test_a_held_run_can_be_cancelled():
    @workflow("held", on="test/held", concurrency=[Concurrency(1)])
    def held(ctx, step):
        pass

    for _ in range(2):
        send("test/held", {}, owner_id=None)
    db.session.commit()
    advance.claim_batch("mine", 2)
    advance.claim_batch("mine", 2)
    waiting = next(run for run in list_runs() if run.held_by)
    assert cancel(waiting.id)
    db.session.commit()
    assert get_run(waiting.id).status == "cancelled"


def test_a_running_run_keeps_its_step_in_flight_and_stops_at_the_next_one(calls):
    @workflow("busy", on="test/busy")
    def busy(ctx, step):
        def work():
            with runtime().ports.app_context():
                assert cancel(ctx.run_id, "stop")
                db.session.commit()
            return "kept"

        step.run("first", work)
        step.run("second", calls.append, "second")

    send("test/busy", {}, owner_id=None)
    assert drain() == [("busy", "cancelled")]
    run = list_runs()[0]
    assert (run.status, run.reason) == ("cancelled", "stop")
    assert_sent("run/cancelled", run_id=str(run.id), reason="stop")
    assert [(step.key, step.output) for step in list_steps(run.id)] == [("first", "kept")]
    assert calls == []


def test_a_cancelled_run_never_becomes_completed_even_if_its_last_step_was_in_flight():
    @workflow("last", on="test/last")
    def last(ctx, step):
        def work():
            with runtime().ports.app_context():
                cancel(ctx.run_id)
                db.session.commit()

        step.run("only", work)
        return "done"

    send("test/last", {}, owner_id=None)
    drain()
    assert list_runs()[0].status == "cancelled"


def test_a_finally_block_starts_no_steps_while_the_run_leaves(calls):
    @workflow("tidy", on="test/tidy", backoff=(60,), retries=1)
    def tidy(ctx, step):
        try:
            step.run("break", lambda: 1 / 0)
        finally:
            step.run("tidy-up", calls.append, ctx.attempt)

    send("test/tidy", {}, owner_id=None)
    assert drain() == [("tidy", "waiting")]
    assert calls == []
    drain(advance=True)
    assert calls == [1]  # failed for good: the error is an ordinary one now


def test_a_body_that_swallows_an_interrupt_parks_all_the_same(calls):
    @workflow("greedy", on="test/greedy", backoff=(60,))
    def greedy(ctx, step):
        try:
            step.run("break", lambda: 1 / 0)
        except BaseException:  # noqa: BLE001
            calls.append("swallowed")
        return "completed?"

    send("test/greedy", {}, owner_id=None)
    assert drain() == [("greedy", "waiting")]


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
