"""`step.wait_for_event`: which event ends a wait, and that none is lost."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from app.db import db
from app.engine import CancelOn, advance, get_run, list_runs, list_steps, send, upkeep, workflow
from app.engine import waits as engine_waits
from app.engine.runtime import runtime
from app.engine.testing import clock, drain
from app.lib.ids import new_id


def say(name, data=None, *, owner_id=None):
    event_id = send(name, data or {}, owner_id=owner_id)
    db.session.commit()
    return event_id


def start(data=None, *, owner_id=None):
    say("test/wait", data, owner_id=owner_id)
    drain()
    return list_runs(workflow="wait")[0].id


def outcome(run_id):
    drain()
    run = get_run(run_id)
    return run.status, run.output


@pytest.fixture
def wait():
    @workflow("wait", on="test/wait")
    def wait(ctx, step):
        event = step.wait_for_event("approval", "course/approved", match="data.course_id", timeout="3d")
        return None if event is None else event.data

    return wait


def test_match_compares_that_path_of_trigger_and_arriving_event(wait):
    run_id = start({"course_id": 7})
    say("course/approved", {"course_id": 8})
    assert outcome(run_id)[0] == "waiting"
    say("course/approved", {"course_id": "7"})  # text and number look the same in JSON's path
    assert outcome(run_id) == ("completed", {"course_id": "7"})


def test_waiting_runs_hold_no_worker(wait):
    run = get_run(start({"course_id": 7}))
    assert (run.status, run.worker) == ("waiting", None)


def test_none_at_the_timeout(wait):
    run_id = start({"course_id": 7})
    clock.advance(3 * 86_400 + 1)
    assert outcome(run_id) == ("completed", None)
    say("course/approved", {"course_id": 7})
    assert outcome(run_id) == ("completed", None)


def test_it_takes_an_event_of_the_same_owner_only(wait):
    alice, charlie = new_id(), new_id()
    run_id = start({"course_id": 7}, owner_id=alice)
    say("course/approved", {"course_id": 7}, owner_id=charlie)
    say("course/approved", {"course_id": 7}, owner_id=None)
    assert outcome(run_id)[0] == "waiting"
    say("course/approved", {"course_id": 7, "by": "alice"}, owner_id=alice)
    assert outcome(run_id)[1]["by"] == "alice"


def test_it_takes_the_oldest_matching_event():
    @workflow("late", on="test/late")
    def late(ctx, step):
        step.sleep("nap", "1h")
        return step.wait_for_event("any", "test/said", timeout="1h").data

    say("test/late")
    drain()
    for number in range(3):
        say("test/said", {"number": number})
    drain(advance=True)
    assert list_runs()[0].output == {"number": 0}


def test_it_takes_no_event_that_this_run_has_taken_and_not_the_trigger():
    @workflow("three", on="test/said")
    def three(ctx, step):
        found = [step.wait_for_event("next", "test/said", timeout="1h") for _ in range(2)]
        return [event and event.data["number"] for event in found]

    say("test/said", {"number": 0})
    drain()
    (first,) = list_runs()
    say("test/said", {"number": 1})
    drain()
    assert get_run(first.id).status == "waiting"
    say("test/said", {"number": 2})
    assert outcome(first.id) == ("completed", [1, 2])


def test_two_waits_of_a_run_do_not_share_an_event():
    @workflow("pair", on="test/pair")
    def pair(ctx, step):
        def one(s):
            event = s.wait_for_event("next", "test/said", timeout="1h")
            return event and event.data["number"]

        return step.parallel("both", {"a": one, "b": one})

    say("test/pair")
    drain()
    say("test/said", {"number": 1})
    run = list_runs()[0]
    assert outcome(run.id)[0] == "waiting"
    say("test/said", {"number": 2})
    assert sorted(outcome(run.id)[1].values()) == [1, 2]


def test_one_event_may_serve_many_runs(wait):
    ids = [start({"course_id": 7}) for _ in range(3)]
    say("course/approved", {"course_id": 7})
    assert [outcome(run_id)[0] for run_id in ids] == ["completed"] * 3


def test_an_event_that_arrived_after_the_run_was_created_and_before_the_wait_was_registered_counts(wait):
    say("course/approved", {"course_id": 7, "when": "before the run"})
    say("test/wait", {"course_id": 7})
    say("course/approved", {"course_id": 7, "when": "before the wait"})
    drain()
    assert list_runs(workflow="wait")[0].output == {"course_id": 7, "when": "before the wait"}


def test_since_narrows():
    @workflow("late", on="test/late")
    def late(ctx, step):
        began_at = ctx.now()
        step.sleep("nap", "1h")
        event = step.wait_for_event("any", "test/said", timeout="1h", since=ctx.now())
        return [began_at.isoformat(), event and event.data]

    say("test/late")
    drain()
    say("test/said", {"number": 1})
    clock.advance(3601)
    drain()
    say("test/said", {"number": 2})
    drain()
    assert list_runs()[0].output[1] == {"number": 2}


def test_any_of_several_names_ends_the_wait():
    @workflow("either", on="test/either")
    def either(ctx, step):
        return step.wait_for_event("verdict", ["course/refused", "course/approved"], timeout="1h").name

    say("test/either")
    drain()
    say("course/approved")
    say("course/refused")
    drain()
    assert list_runs()[0].output == "course/approved"


def test_an_expression_looks_at_event_and_arriving():
    @workflow("priced", on="test/priced")
    def priced(ctx, step):
        found = step.wait_for_event("offer", "test/offer", if_="arriving.data.price < event.data.most", timeout="1h")
        return found.data

    say("test/priced", {"most": 10})
    drain()
    say("test/offer", {"price": 12})
    say("test/offer", {"price": 9})
    drain()
    assert list_runs()[0].output == {"price": 9}


def test_a_bad_expression_fails_that_run_and_never_disturbs_other_waits():
    @workflow("bad", on="test/both")
    def bad(ctx, step):
        step.wait_for_event("offer", "test/offer", if_="arriving.data.price < event.data.nothing", timeout="1h")

    @workflow("worse", on="test/both")
    def worse(ctx, step):
        step.wait_for_event("offer", "test/offer", if_="__import__('os')", timeout="1h")

    @workflow("good", on="test/both")
    def good(ctx, step):
        return step.wait_for_event("offer", "test/offer", timeout="1h").data

    say("test/both")
    drain()
    say("test/offer", {"price": 9})
    drain()
    found = {run.workflow: run for run in list_runs()}
    assert [found[name].status for name in ("bad", "worse", "good")] == ["failed", "failed", "completed"]
    assert found["bad"].error["code"] == found["worse"].error["code"] == "expression"


def test_a_match_on_nothing_fails_the_run_and_says_so(wait):
    run = get_run(start({"other": 1}))
    assert run.status == "failed"
    assert "data.course_id" in run.error["message"]


@pytest.mark.parametrize("odd", ["\x00", "a\x00b", "\ud800", "x" * 9000, {"a": [1, None]}, 1.0, True, "\N{SNOWMAN}"])
def test_any_json_can_be_matched(wait, odd):
    run_id = start({"course_id": odd})
    say("course/approved", {"course_id": "another", "\x00": "\x00"})
    say("course/approved", {"course_id": odd})
    assert outcome(run_id)[0] == "completed"


def test_a_wait_is_ended_by_upkeep_when_the_sender_died_after_its_commit(wait, monkeypatch):
    run_id = start({"course_id": 7})
    monkeypatch.setattr(runtime(), "look_for_waits", lambda _events: None)
    say("course/approved", {"course_id": 7})
    assert get_run(run_id).status == "waiting"
    clock.advance(1)
    assert outcome(run_id) == ("completed", {"course_id": 7})


def test_a_wait_is_ended_by_upkeep_when_the_worker_died_before_it_had_looked_back(wait, monkeypatch):
    say("test/wait", {"course_id": 7})
    say("course/approved", {"course_id": 7})
    with monkeypatch.context() as patch:
        patch.setattr(engine_waits, "look_back", lambda *_: None)
        run, claimed_at = advance.claim_batch("doomed", 1)[0]
        assert advance.advance(run, claimed_at) == "waiting"
    assert outcome(run.id) == ("completed", {"course_id": 7})


def test_200_interleavings_of_send_then_wait_and_wait_then_send_lose_none(wait):
    """Half of the senders begin before the worker, half after; the threads decide the rest."""

    def send_all(numbers, barrier):
        barrier.wait()
        with runtime().ports.app_context():
            for number in numbers:
                send("course/approved", {"course_id": number}, owner_id=None)
                runtime().ports.session().commit()

    for number in range(200):
        send("test/wait", {"course_id": number}, owner_id=None)
    db.session.commit()
    claimed = []
    while found := advance.claim_batch("waiter", 50):
        claimed += found
    barrier = threading.Barrier(3)

    def wait_all():
        barrier.wait()
        with runtime().ports.app_context():
            for run, claimed_at in claimed:
                advance.advance(run, claimed_at)

    threads = [
        threading.Thread(target=send_all, args=(range(0, 200, 2), barrier)),
        threading.Thread(target=send_all, args=(range(199, 0, -2), barrier)),
        threading.Thread(target=wait_all),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while any(run.status != "completed" for run in list_runs(workflow="wait", limit=500)):
        assert drain() or upkeep.run_pass(), "a wait has lost its event"
    assert {run.output["course_id"] for run in list_runs(workflow="wait", limit=500)} == set(range(200))


def test_what_a_run_has_waited_for_is_kept_when_it_ends(wait, execute):
    run_id = start({"course_id": 7})
    assert execute("SELECT status FROM wait").scalars().all() == ["open"]
    say("course/approved", {"course_id": 7})
    assert outcome(run_id)[0] == "completed"
    assert execute("SELECT status FROM wait").scalars().all() == ["matched"]


def test_the_step_shows_what_it_waits_for(wait):
    run_id = start({"course_id": 7})
    say("course/approved", {"course_id": 7})
    outcome(run_id)
    (step,) = list_steps(run_id)
    assert step.input[0]["event"] == ["course/approved"]
    assert step.output["data"] == {"course_id": 7}


@pytest.fixture
def lesson():
    @workflow("lesson", on="test/lesson", cancel_on=[CancelOn("course/deleted", match="data.course_id")])
    def lesson(ctx, step):
        step.sleep("nap", "1h")

    return lesson


def statuses():
    db.session.expire_all()
    return [run.status for run in reversed(list_runs(workflow="lesson"))]


def test_cancel_on_cancels_the_runs_that_match(lesson):
    alice = new_id()
    for course_id in (1, 2):
        say("test/lesson", {"course_id": course_id}, owner_id=alice)
    drain()
    say("course/deleted", {"course_id": 1}, owner_id=new_id())
    assert statuses() == ["waiting", "waiting"]
    say("course/deleted", {"course_id": 1}, owner_id=alice)
    assert statuses() == ["cancelled", "waiting"]
    assert "course/deleted" in list_runs(workflow="lesson")[1].reason


def test_cancel_on_counts_what_came_while_the_run_was_being_made(lesson, monkeypatch):
    """The event's own look may find no wait yet; then it is the wait that looks back."""
    say("test/lesson", {"course_id": 1})
    monkeypatch.setattr(runtime(), "look_for_waits", lambda _events: None)
    say("course/deleted", {"course_id": 1})
    drain()
    assert statuses() == ["cancelled"]


def test_cancel_on_stops_a_running_run_at_the_next_step(lesson):
    @workflow("busy", on="test/busy", cancel_on=[CancelOn("test/stop")])
    def busy(ctx, step):
        def work():
            with runtime().ports.app_context():
                say("test/stop")

        step.run("work", work)
        step.run("never", lambda: 1 / 0)

    say("test/busy")
    drain()
    run = list_runs(workflow="busy")[0]
    assert run.status == "cancelled"
    assert [step.key for step in list_steps(run.id)] == ["work"]


def test_since_never_widens(wait):
    @workflow("eager", on="test/eager")
    def eager(ctx, step):
        return step.wait_for_event("any", "test/said", timeout="1h", since=ctx.now() - timedelta(days=1))

    say("test/said")
    say("test/eager")
    drain()
    assert list_runs(workflow="eager")[0].status == "waiting"
