"""Running again from a step: what is copied, what is edited, what is refused."""

from __future__ import annotations

import contextlib

import pytest

from app.db import db
from app.engine import (
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
    replay,
    rerun_from,
    send,
    store_upkeep,
    upkeep,
    workflow,
)
from app.engine.execution import load
from app.engine.registry import registry as workflows
from app.engine.runtime import runtime
from app.engine.testing import SimulatedCrash, clock, crash_after, drain, run_workflow
from app.lib import outside
from app.lib.ids import new_id


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


def test_a_dead_run_is_rerun_by_the_step_that_killed_its_workers(calls, execute):
    @workflow("deadly", on="test/deadly")
    def deadly(ctx, step):
        step.run("first", calls.append, "first")
        return step.run("killer", lambda factor: factor, 7)

    send("test/deadly", {}, owner_id=None)
    db.session.commit()
    with crash_after("first"):
        drain()
    for _ in range(6):
        clock.advance(31)
        upkeep.run_pass()
        for run, claimed_at in advance.claim_batch("doomed", 1):
            execution = load(run, workflows.by_name["deadly"], claimed_at=claimed_at)
            execution.active["killer"] = 0.0
            with runtime().pool.connection() as connection:
                values = {"progress": None, "meta": None, "active": execution.active_json(0)}
                store_upkeep.show(connection, run.id, run.epoch, values)
    db.session.rollback()
    [run] = list_runs()
    assert run.status == "dead"
    assert [(step.key, step.status) for step in list_steps(run.id)] == [("first", "completed"), ("killer", "failed")]
    with pytest.raises(UnknownRun):
        rerun_from(run.id, "innocent")
    again = rerun_from(run.id, "killer", [8])
    drain()
    assert (get_run(again).output, calls) == (8, ["first"])


def test_a_rerun_goes_on_at_a_step_that_waited_for_an_event_or_for_another_run(calls, execute):
    @workflow("waits", on="test/waits")
    def waits(ctx, step):
        step.run("first", calls.append, "first")
        step.run("wait", lambda: 1)
        step.run("embed", lambda: 1)

    send("test/waits", {}, owner_id=None)
    with crash_after("first"):
        drain()
    [run] = list_runs()
    assert cancel(run.id)
    drain(advance=True)
    for key in ("wait", "embed"):
        with pytest.raises(UnknownRun):
            rerun_from(run.id, key)
    execute(
        """INSERT INTO wait (run_id, key, topic, kind, status, since, created_at)
        VALUES (:id, 'wait', 'test', 'event', 'closed', now(), now())""",
        id=run.id,
    )
    rerun_from(run.id, "wait")
    again = rerun_from(run.id, "wait")
    db.session.commit()
    execute("UPDATE run SET parent_run = :id, parent_step = 'embed' WHERE id = :child", id=run.id, child=again)
    rerun_from(run.id, "embed")
    drain()
    assert calls == ["first"]
    assert len(list_runs(status="completed")) == 3


def test_a_rerun_of_an_invoked_run_wakes_nobody(pipeline, execute):
    run = run_workflow(pipeline, {"id": 1})
    execute("UPDATE run SET parent_run = id, parent_step = 'invoke'")
    db.session.rollback()
    assert get_run(rerun_from(run.id, "last")).parent_run is None
    assert get_run(replay(run.id)).parent_run is None


def test_a_rerun_copies_what_a_step_did_to_the_runs_meta(pipeline, execute):
    run = run_workflow(pipeline, {"id": 1})
    execute("UPDATE step SET meta = '[1]' WHERE key = 'first'")
    again = rerun_from(run.id, "last")
    db.session.commit()
    assert execute("SELECT meta FROM step WHERE run_id = :id AND key = 'first'", id=again).scalar() == [1]


def test_a_rerun_from_a_sleep_sleeps_whatever_input_it_was_given():
    @workflow("sleepy", on="test/sleepy", retries=0)
    def sleepy(ctx, step):
        step.sleep("nap", "1m")
        raise ValueError

    send("test/sleepy", {}, owner_id=None)
    drain(advance=True)
    new_id = rerun_from(list_runs(workflow="sleepy")[0].id, "nap", ["2m"])
    db.session.commit()
    assert drain() == [("sleepy", "waiting")]
    assert [found.status for found in list_steps(new_id)] == ["sleeping"]


def test_a_dead_run_is_rerun_by_a_step_that_killed_each_of_its_workers_at_once(calls):
    """No beat came to show that it was being executed; a run that has been taken over says so itself."""

    @workflow("deadly", on="test/deadly")
    def deadly(ctx, step):
        def work(is_safe):
            calls.append(is_safe)
            if not is_safe:
                raise SimulatedCrash
            return "done"

        step.run("first", int)
        return step.run("killer", work, False)

    send("test/deadly", {}, owner_id=None)
    for _ in range(6):
        with contextlib.suppress(SimulatedCrash):
            drain()
        clock.advance(31)
    drain()
    [run] = list_runs()
    assert run.status == "dead"
    assert [(step.key, step.status) for step in list_steps(run.id)] == [("first", "completed"), ("killer", "failed")]
    again = rerun_from(run.id, "killer", [True])
    drain()
    assert get_run(again).output == "done"
    assert len(calls) == 7


def test_what_a_run_that_was_taken_over_says_of_its_steps_is_no_step_more(calls):
    @workflow("saved", on="test/saved")
    def saved(ctx, step):
        step.run("first", calls.append, 1)
        step.run("second", calls.append, 2)
        calls.append([(each.key, each.status) for each in list_steps(ctx.run_id)])

    send("test/saved", {}, owner_id=None)
    with crash_after("first"):
        drain()
    drain(advance=True)
    assert calls == [1, 2, [("first", "completed"), ("second", "completed")]]
