"""Cancelling: at once, at the next step, and never against the locks of others."""

from __future__ import annotations

import queue
import threading

import pytest
import sqlalchemy as sa
from flask import current_app

from app.db import db
from app.engine import (
    Concurrency,
    RetryAfter,
    advance,
    cancel,
    get_run,
    list_runs,
    list_steps,
    send,
    store_flows,
    workflow,
)
from app.engine import runtime as runtimes
from app.engine.runtime import runtime
from app.engine.testing import assert_sent, drain
from tests.engine.locks import wait_for_lock_of


@pytest.fixture
def calls():
    return []


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
        other.execute(store_flows.LOCK, [["keyed#0:"]])
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
    runtime().pool.close()  # those opened meanwhile would take so little patience along into other tests


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


def test_a_reason_that_postgresql_cannot_hold_is_kept_as_far_as_it_can():
    @workflow("asleep", on="test/asleep")
    def asleep(ctx, step):
        step.sleep("long", "1h")

    send("test/asleep", {}, owner_id=None)
    drain()
    assert cancel(list_runs()[0].id, "so\ud800it\x00is")
    db.session.commit()
    assert list_runs()[0].reason == "so?it\N{REPLACEMENT CHARACTER}is"
