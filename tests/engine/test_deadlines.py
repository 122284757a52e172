"""Timeouts of runs, and runs that end with the one that started them."""

from __future__ import annotations

import time

import pytest

from app.db import db
from app.engine import (
    NonRetriable,
    RetryAfter,
    StepError,
    advance,
    cancel,
    get_run,
    list_runs,
    pause,
    send,
    store_upkeep,
    upkeep,
    workflow,
)
from app.engine.runtime import runtime
from app.engine.testing import assert_sent, clock, drain, sent_events


@pytest.fixture
def calls():
    return []


@pytest.fixture
def patient(calls):
    @workflow(
        "patient",
        on="test/patient",
        on_failure=lambda _ctx, outcome: calls.append((outcome.status, outcome.error["code"])),
    )
    def patient(ctx, step):
        def later():
            raise RetryAfter(36_000)

        step.run("later", later)


def start(execute, **columns):
    send("test/patient", {}, owner_id=None)
    db.session.commit()
    run_id = list_runs(workflow="patient")[0].id
    if columns:
        wanted = ", ".join(f"{name} = {value}" for name, value in columns.items())
        execute(f"UPDATE run SET {wanted} WHERE id = :id", id=run_id)
    return run_id


IN_TEN_MINUTES = "created_at + interval '10 minutes'"


def test_a_run_that_has_not_started_by_its_deadline_is_cancelled_at_once(patient, calls, execute):
    run_id = start(execute, deadline_at=IN_TEN_MINUTES)
    clock.advance(599)
    upkeep.run_pass()
    db.session.rollback()
    assert get_run(run_id).status == "queued"
    clock.advance(2)
    drain()
    run = get_run(run_id)
    assert (run.status, run.reason) == ("cancelled", "not started within 10 min")
    assert run.error == {"class": "TimedOut", "code": "timed_out", "message": "not started within 10 min"}
    assert calls == [("cancelled", "timed_out")]
    assert assert_sent("run/cancelled", run_id=str(run_id))["error"]["code"] == "timed_out"


def test_a_run_that_waits_past_its_deadline_is_cancelled_at_once(patient, calls, execute):
    run_id = start(execute)
    drain()
    execute("UPDATE run SET deadline_at = engine_now() + interval '2 hours', finish_seconds = 7200")
    clock.advance(7201)
    drain()
    assert (get_run(run_id).status, get_run(run_id).reason) == ("cancelled", "not finished within 2 h")
    assert calls == [("cancelled", "timed_out")]


@pytest.mark.parametrize("status", ["paused", "debounced"])
def test_a_deadline_goes_on_counting_for_a_run_that_is(patient, execute, status):
    run_id = start(execute, deadline_at=IN_TEN_MINUTES, status=f"'{status}'", due_at="engine_now() + interval '1 day'")
    clock.advance(601)
    drain()
    assert get_run(run_id).status == "cancelled"


def test_a_run_that_executes_past_its_deadline_is_cancelled_at_its_next_step_with_the_code(calls, execute):
    def late(_ctx, outcome):
        calls.append((outcome.status, outcome.error["code"]))

    @workflow("slow", on="test/slow", on_failure=late)
    def slow(ctx, step):
        def first():
            clock.advance(3600)
            upkeep.run_pass()
            upkeep.run_pass()
            return "kept"

        step.run("first", first)
        step.run("second", calls.append, "second")

    send("test/slow", {}, owner_id=None)
    db.session.commit()
    [run] = list_runs()
    execute("UPDATE run SET deadline_at = engine_now() + interval '10 minutes', finish_seconds = 600")
    [(claimed, _)] = advance.claim_batch("mine", 1)
    execute("UPDATE run SET lease_until = engine_now() + interval '1 day'")
    db.session.commit()  # the step moves the clock, which closes all connections
    assert advance.advance(claimed, time.monotonic()) == "cancelled"
    drain()
    assert calls == [("cancelled", "timed_out")]
    found = get_run(run.id)
    assert (found.status, found.reason, found.error["code"]) == ("cancelled", "not finished within 10 min", "timed_out")
    assert len(sent_events("run/cancelled")) == 1


def test_a_run_that_ended_in_time_is_left_alone(patient, execute):
    @workflow("quick", on="test/quick")
    def quick(ctx, step):
        pass

    send("test/quick", {}, owner_id=None)
    db.session.commit()
    execute("UPDATE run SET deadline_at = engine_now() + interval '10 minutes'")
    drain()
    clock.advance(601)
    drain()
    assert list_runs()[0].status == "completed"


def test_upkeep_is_there_when_a_deadline_passes(patient, execute):
    start(execute, deadline_at="engine_now() + interval '500 milliseconds'")
    assert 0 < upkeep.seconds_to_next() <= 0.5
    clock.advance(1)
    assert upkeep.seconds_to_next() == upkeep.AGAIN_AFTER
    upkeep.run_pass()
    db.session.rollback()
    assert list_runs(workflow="patient")[0].status == "cancelled"


def test_upkeep_does_not_hurry_for_a_run_that_will_not_be_cancelled_any_sooner(patient, execute):
    start(execute, deadline_at=IN_TEN_MINUTES)
    advance.claim_batch("mine", 1)
    clock.advance(601)
    execute("UPDATE run SET lease_until = engine_now() + interval '1 day'")
    upkeep.run_pass()
    assert upkeep.seconds_to_next() == upkeep.LONGEST_SLEEP


def test_one_run_that_cannot_be_cancelled_keeps_no_other_from_it(patient, execute, monkeypatch):
    first, second = start(execute, deadline_at=IN_TEN_MINUTES), start(execute, deadline_at=IN_TEN_MINUTES)
    cancel = upkeep.endings.cancel

    def fail_once(connection, run, *rest):
        if run.id == first:
            raise KeyError
        return cancel(connection, run, *rest)

    monkeypatch.setattr(upkeep.endings, "cancel", fail_once)
    clock.advance(601)
    upkeep.run_pass()
    db.session.rollback()
    assert [get_run(run_id).status for run_id in (first, second)] == ["queued", "cancelled"]


@pytest.fixture
def family(execute):
    @workflow("parent", on="test/parent")
    def parent(ctx, step):
        raise NonRetriable if ctx.event.data.get("fails") else RetryAfter(36_000)

    @workflow("child", on="test/child")
    def child(ctx, step):
        step.run("later", _later)

    def _later():
        raise RetryAfter(36_000)

    def make(**data):
        send("test/parent", data, owner_id=None)
        for _ in range(3):
            send("test/child", {}, owner_id=None)
        db.session.commit()
        [above] = list_runs(workflow="parent")
        execute(
            "UPDATE run SET parent_run = :above, parent_step = id, is_cancelled_with_parent = true WHERE workflow = 'child'",
            above=above.id,
        )
        return above.id

    return make


def test_runs_are_cancelled_with_their_parent_one_transaction_each(family, execute):
    family(fails=True)
    drain()
    assert {run.status for run in list_runs(workflow="child")} == {"cancelled"}
    assert {run.reason for run in list_runs(workflow="child")} == {"the run that it belongs to did not complete"}
    assert len(sent_events("run/cancelled")) == 3


def test_runs_go_on_while_their_parent_does_and_when_it_has_completed(family, execute):
    above = family()
    drain()
    pause(above)
    drain()
    assert {run.status for run in list_runs(workflow="child")} == {"waiting"}
    execute("UPDATE run SET status = 'completed', finished_at = now() WHERE id = :above", above=above)
    drain()
    assert {run.status for run in list_runs(workflow="child")} == {"waiting"}


def test_live_children_cost_a_pass_of_upkeep_nothing_while_their_parents_go_on(family, execute):
    above = family()
    drain()
    execute(
        """INSERT INTO run (id, workflow, version, status, event_id, event_name, parent_run, is_cancelled_with_parent,
                            due_at, sort_at, created_at)
           SELECT gen_random_uuid(), 'child', 1, 'waiting', event_id, event_name, :above, true,
                  now() + interval '9 days', now(), now() FROM run, generate_series(1, 5000) WHERE id = :above""",
        above=above,
    )
    with runtime().pool.connection() as connection:
        explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {store_upkeep.JUST_ORPHANED} LIMIT 500"
        [[[found]]] = connection.execute(explain).fetchall()
    assert found["Plan"]["Shared Hit Blocks"] + found["Plan"]["Shared Read Blocks"] < 30


def test_children_are_also_cancelled_when_no_pass_came_while_their_parent_had_just_ended(family, execute, monkeypatch):
    above = family()
    drain()
    ended = "UPDATE run SET status = 'failed', due_at = NULL, finished_at = now() - interval '1 day' WHERE id = :above"
    execute(ended, above=above)
    monkeypatch.setattr(upkeep, "_orphans_at", 0.0)  # a minute is over
    drain()
    assert {run.status for run in list_runs(workflow="child")} == {"cancelled"}


def test_an_invoked_run_is_cancelled_with_the_run_that_asked_for_that():
    @workflow("asks", on="test/asks")
    def asks(ctx, step):
        step.invoke("embed", "embeds", cancel_child=ctx.event.data["cancel"])

    @workflow("embeds", on="test/embeds")
    def embeds(ctx, step):
        step.sleep("long", "9d")

    for wanted, expected in ((True, "cancelled"), (False, "waiting")):
        send("test/asks", {"cancel": wanted}, owner_id=None)
        drain()
        cancel(list_runs(workflow="asks")[0].id)
        drain()
        assert list_runs(workflow="embeds")[0].status == expected


def test_an_invoked_run_is_cancelled_when_the_run_that_asked_for_that_waits_no_longer():
    @workflow("asks", on="test/asks")
    def asks(ctx, step):
        try:
            step.invoke("embed", "embeds", timeout="1h", cancel_child=ctx.event.data["cancel"])
        except StepError as error:
            return error.code

    @workflow("embeds", on="test/embeds")
    def embeds(ctx, step):
        step.sleep("long", "9d")

    for wanted, expected in ((True, "cancelled"), (False, "waiting")):
        send("test/asks", {"cancel": wanted}, owner_id=None)
        drain()
        clock.advance(3601)
        drain()
        assert list_runs(workflow="asks")[0].output == "child_timeout"
        drain()
        assert list_runs(workflow="embeds")[0].status == expected
