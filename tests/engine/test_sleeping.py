"""`step.sleep` and `step.sleep_until`: a wake time that is remembered once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.db import db
from app.engine import get_run, list_runs, list_steps, send, upkeep, workflow
from app.engine.testing import clock, crash_after, drain, run_workflow


def start(name, data=None):
    send(name, data or {}, owner_id=None)
    drain()
    return list_runs()[0]


def test_sleep_stores_its_absolute_wake_time_once(execute):
    @workflow("nap", on="test/nap")
    def nap(ctx, step):
        step.sleep("nap", "10m")

    run = start("test/nap")
    (remembered,) = execute("SELECT output FROM step").scalars()
    due_at = datetime.fromisoformat(remembered)
    assert run.status == "waiting"
    assert run.due_at == due_at
    clock.advance(300)
    execute("UPDATE run SET status = 'queued', due_at = NULL")  # woken early
    drain()
    assert get_run(run.id).due_at == due_at
    clock.advance(301)
    drain()
    assert get_run(run.id).status == "completed"


def test_sleeping_runs_hold_no_worker_and_no_slot():
    from app.engine import Concurrency

    @workflow("one-by-one", on="test/one", concurrency=[Concurrency(1)])
    def one_by_one(ctx, step):
        step.sleep("nap", "1h")

    send("test/one", {}, owner_id=None)
    send("test/one", {}, owner_id=None)
    drain()
    assert [run.status for run in list_runs()] == ["waiting", "waiting"]
    assert all(run.worker is None for run in list_runs())


def test_a_crash_makes_no_sleep_longer():
    @workflow("nap", on="test/nap")
    def nap(ctx, step):
        step.sleep("nap", "10m")

    send("test/nap", {}, owner_id=None)
    with crash_after("nap"):
        drain()
    began_at = list_runs()[0].created_at
    drain(advance=True)
    took = list_runs()[0].finished_at - began_at
    assert timedelta(minutes=10) <= took < timedelta(minutes=10, seconds=5)


def test_sleep_until_a_time_that_is_over_does_not_park():
    @workflow("past", on="test/past")
    def past(ctx, step):
        step.sleep_until("then", datetime(2020, 1, 1, tzinfo=UTC))

    assert start("test/past").status == "completed"


def test_sleep_until_wants_a_time_zone():
    @workflow("naive", on="test/naive")
    def naive(ctx, step):
        step.sleep_until("then", datetime(2020, 1, 1))  # noqa: DTZ001

    run = start("test/naive")
    assert run.status == "failed"
    assert "time zone" in run.error["message"]


@pytest.mark.parametrize("duration", ["soon", -1, "1 fortnight", None, "9999999w"])
def test_a_sleep_that_is_no_duration_fails_the_run_and_says_how_to_write_one(duration):
    @workflow("odd", on="test/odd")
    def odd(ctx, step):
        step.sleep("nap", duration)

    run = start("test/odd")
    assert run.status == "failed"
    assert "10m" in run.error["message"]


def test_branches_sleep_side_by_side():
    @workflow("both", on="test/both")
    def both(ctx, step):
        def nap(s, minutes):
            s.sleep("nap", timedelta(minutes=minutes))
            return s.run("after", lambda: minutes)

        return step.map("nap", nap, [30, 10, 20])

    run = run_workflow(both, {})
    assert run.output == [30, 10, 20]
    assert [step.key for step in list_steps(run.id) if step.kind == "sleep"] == [f"nap[{n}]/nap" for n in range(3)]
    assert timedelta(minutes=30) <= run.finished_at - run.created_at < timedelta(minutes=31)


def test_a_sleeping_run_can_be_cancelled():
    from app.engine import cancel

    @workflow("nap", on="test/nap")
    def nap(ctx, step):
        step.sleep("nap", "10m")

    run = start("test/nap")
    cancel(run.id)
    db.session.commit()
    assert get_run(run.id).status == "cancelled"


def test_a_run_that_is_woken_before_its_time_goes_before_those_that_came_later():
    @workflow("old", on="test/old")
    def old(ctx, step):
        step.wait_for_event("w", "a/b", timeout="3d")

    @workflow("young", on="test/young")
    def young(ctx, step):
        pass

    for name in ("test/old", "a/b", "test/young"):
        send(name, {}, owner_id=None)
        db.session.commit()
        if name == "test/old":
            drain()
    assert [name for name, _ in drain()] == ["old", "young"]


def test_upkeep_sleeps_for_a_second_at_most_and_only_until_the_next_run_is_due():
    assert upkeep.seconds_to_next() == 1.0

    @workflow("nap", on="test/nap")
    def nap(ctx, step):
        step.sleep("nap", 1000)

    start("test/nap")
    assert upkeep.seconds_to_next() == 1.0
    clock.advance(999.5)
    assert 0 < upkeep.seconds_to_next() < 0.5
