"""What others may know of steps that rest: a sleep, a wait and an invoked run show as such while they last."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.db import db
from app.engine import RetryAfter, cancel, list_runs, list_steps, pause, send, workflow
from app.engine.beat import Beat
from app.engine.testing import clock, drain


def the_step(name: str):
    [run] = list_runs(workflow=name)
    [step] = list_steps(run.id)
    return run, step


def test_a_sleep_is_not_completed_before_its_time():
    @workflow("sleeper", on="test/sleep")
    def sleeper(ctx, step):
        step.sleep("nap", "10m")

    send("test/sleep", {}, owner_id=None)
    drain()
    run, step = the_step("sleeper")
    assert (step.kind, step.status, step.until, step.finished_at) == ("sleep", "sleeping", run.due_at, None)
    clock.advance(601)
    drain()
    run, step = the_step("sleeper")
    assert (run.status, step.status, step.finished_at) == ("completed", "completed", step.until)
    assert abs(step.finished_at - step.started_at - timedelta(minutes=10)) < timedelta(seconds=1)


def test_a_sleep_of_a_paused_run_goes_on_and_of_a_cancelled_one_ends_with_it():
    @workflow("sleeper", on="test/sleep")
    def sleeper(ctx, step):
        step.sleep("nap", "10m")

    send("test/sleep", {}, owner_id=None)
    drain()
    pause(the_step("sleeper")[0].id)
    db.session.commit()
    assert the_step("sleeper")[1].status == "sleeping"
    cancel(the_step("sleeper")[0].id)
    db.session.commit()
    run, step = the_step("sleeper")
    assert (step.status, step.finished_at) == ("cancelled", run.finished_at)


def test_a_wait_shows_from_its_beginning_and_until_when():
    @workflow("listener", on="test/listen")
    def listener(ctx, step):
        step.wait_for_event("approval", ["test/yes", "test/no"], timeout="1h")
        step.sleep("nap", "10m")

    send("test/listen", {}, owner_id=None)
    drain()
    run, step = the_step("listener")
    assert (step.key, step.kind, step.status) == ("approval", "wait", "waiting")
    assert abs(step.until - run.due_at) < timedelta(seconds=1)  # each of the two names has a row of its own
    began = step.started_at
    clock.advance(60)
    send("test/yes", {}, owner_id=None)
    drain()
    step, nap = list_steps(run.id)
    assert (step.status, step.started_at, nap.status) == ("completed", began, "sleeping")
    assert step.finished_at - began > timedelta(seconds=59)


def test_the_invoked_run_is_known_while_it_runs_and_afterwards():
    @workflow("child", on=())
    def child(ctx, step):
        step.sleep("nap", "10m")
        return 1

    @workflow("parent", on="test/parent")
    def parent(ctx, step):
        return step.invoke("delegate", child)

    send("test/parent", {}, owner_id=None)
    drain()
    [invoked] = list_runs(workflow="child")
    step = the_step("parent")[1]
    assert (step.key, step.kind, step.status, step.child) == ("delegate", "invoke", "waiting", invoked.id)
    drain(advance=True)
    step = the_step("parent")[1]
    assert (step.status, step.output, step.child, step.started_at) == (
        "completed",
        1,
        invoked.id,
        invoked.created_at,
    )


def test_a_step_that_backs_off_says_until_when_and_ends_with_its_run():
    @workflow("shaky", on="test/shaky")
    def shaky(ctx, step):
        step.run("tip", put_off)

    send("test/shaky", {}, owner_id=None)
    drain()
    run, step = the_step("shaky")
    assert (step.status, step.until) == ("backing-off", run.due_at)
    cancel(run.id)
    db.session.commit()
    assert the_step("shaky")[1].status == "cancelled"


def put_off():
    raise RetryAfter(60, "Not now.")


@pytest.mark.parametrize(
    ("error", "statuses"),
    [
        (ValueError(), ("waiting", "backing-off")),
        (RetryAfter(60), ("waiting", "backing-off")),
        (None, ("paused", "completed")),
    ],
)
def test_a_step_that_was_seen_running_shows_so_no_more_when_its_run_has_left(error, statuses):
    @workflow("leaver", on="test/leave")
    def leaver(ctx, step):
        def work():
            beat = Beat(None, active_after=0.0)
            beat.watch(ctx.execution)
            beat.show()
            db.session.rollback()
            assert the_step("leaver")[1].status == "running"
            if error:
                raise error
            pause(ctx.run_id)
            db.session.commit()

        step.run("work", work)
        step.run("never", int)

    send("test/leave", {}, owner_id=None)
    drain()
    run, step = the_step("leaver")
    assert (run.status, step.status) == statuses
