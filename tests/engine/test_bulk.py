"""Doing one thing to many runs: all of them, once each, at a pace."""

from __future__ import annotations

import importlib
import threading
from datetime import UTC, datetime, timedelta

import pytest

from app.db import db
from app.engine import (
    Concurrency,
    EngineError,
    NonRetriable,
    advance,
    bulk,
    cancel,
    get_run,
    list_runs,
    list_steps,
    pause,
    replay,
    resume,
    send,
    upkeep,
    workflow,
)
from app.engine.errors import UnknownRun
from app.engine.registry import registry as workflows
from app.engine.testing import clock, crash_after, drain, run_workflow, sent_events
from app.lib.ids import new_id
from tests.factories import make_user

bulk_room = importlib.import_module("app.engine.bulk")  # the package has a verb of the same name


@pytest.fixture(autouse=True)
def engines_own(registry):
    """Add the engine's own workflow again, which is hidden from tests like those of the product."""
    workflows.add(bulk_room.BULK)


@pytest.fixture(autouse=True)
def small_pages(monkeypatch):
    monkeypatch.setattr(bulk_room, "PAGE", 3)


@pytest.fixture
def calls():
    return []


@pytest.fixture
def plain(calls):
    @workflow("plain", on="test/plain")
    def plain(ctx, step):
        step.run("first", calls.append, "first")
        if ctx.event.data.get("fails") and "mended" not in calls:
            step.run("second", lambda: (_ for _ in ()).throw(NonRetriable("broken")))
        return step.run("third", lambda: "done")


def start(count, owner_id=None, **data):
    for _ in range(count):
        send("test/plain", data, owner_id=owner_id)
    db.session.commit()


def run_all():
    return drain(advance=True)


def count(**wanted):
    return len(list_runs(workflow="plain", **wanted))


def test_a_run_is_replayed_from_the_same_event_from_its_beginning(plain, calls):
    run = run_workflow(workflows.by_name["plain"].function, {"a": 1})
    again = replay(run.id)
    drain()
    found = get_run(again)
    assert (found.status, found.forked_from, found.event_id, found.input) == (
        "completed",
        run.id,
        run.event_id,
        {"a": 1},
    )
    assert calls == ["first", "first"]


def test_a_run_that_has_not_ended_can_be_replayed_and_an_unknown_one_cannot(plain):
    start(1)
    replay(list_runs()[0].id)
    drain()
    assert count(status="completed") == 2
    with pytest.raises(UnknownRun):
        replay(new_id())


def test_bulk_replay_comes_to_all_runs_and_never_to_its_own_replays(plain, calls):
    start(8)
    drain()
    run_id = bulk("replay", {"workflow": "plain"}, owner_id=None)
    run_all()
    assert get_run(run_id).output == {"met": 8, "done": 8}
    assert count() == 16
    assert len({run.forked_from for run in list_runs() if run.forked_from}) == 8


def test_bulk_replay_is_paced(plain):
    start(7)
    drain()
    run_id = bulk("replay", {"workflow": "plain"}, owner_id=None, per_second=0.1)
    drain()
    assert count() == 10
    clock.advance(29)
    drain()
    assert count() == 10
    clock.advance(2)
    drain()
    assert count() == 13
    progress = get_run(run_id).progress
    assert (progress["total_steps"], progress["percent"], progress["message"]) == (7, 85.7, "replay: 6 of 6 runs")


@pytest.mark.parametrize("step", ["begin", "page", "page:1", "page:2"])
def test_bulk_replay_is_never_doubled_and_loses_nothing_when_its_worker_is_killed(plain, step):
    start(8)
    drain()
    run_id = bulk("replay", {"workflow": "plain"}, owner_id=None)
    with crash_after(step):
        run_all()
    run_all()
    assert get_run(run_id).output == {"met": 8, "done": 8}
    assert count() == 16


def test_two_processes_that_race_for_a_bulk_run_do_it_once(plain, app):
    start(5)
    drain()
    run_id = bulk("replay", {"workflow": "plain"}, owner_id=None)
    db.session.commit()
    together = threading.Barrier(2)

    def race():
        with app.app_context():
            together.wait()
            upkeep.run_pass()
            found = advance.claim_one("mine", run_id)
            if found:
                advance.advance(*found)

    threads = [threading.Thread(target=race) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run_all()
    assert get_run(run_id).output == {"met": 5, "done": 5}
    assert count() == 10


def test_a_bulk_run_can_be_cancelled_and_paused(plain):
    start(9)
    drain()
    run_id = bulk("replay", {"workflow": "plain"}, owner_id=None)
    drain()
    assert count() == 12
    pause(run_id)
    run_all()
    assert count() == 12
    resume(run_id)
    drain()
    cancel(run_id)
    run_all()
    assert get_run(run_id).status == "cancelled"
    assert count() in (12, 15)


def test_bulk_cancelling_ends_what_has_not_ended(plain, calls, monkeypatch):
    monkeypatch.setattr(bulk_room, "PAGE", 50)
    start(4)
    drain()
    start(5)
    run_id = bulk("cancel", {"workflow": "plain"}, owner_id=None)
    db.session.commit()
    advance.advance(*advance.claim_one("mine", run_id))
    run_all()
    assert get_run(run_id).output == {"met": 9, "done": 5}
    assert (count(status="cancelled"), count(status="completed")) == (5, 4)
    assert {run.reason for run in list_runs(status="cancelled")} == {"cancelled in bulk"}
    assert len(sent_events("run/cancelled")) == 5


def test_bulk_pausing_and_resuming(plain, monkeypatch):
    monkeypatch.setattr(bulk_room, "PAGE", 50)
    start(4)
    first = bulk("pause", {"workflow": "plain", "status": "queued"}, owner_id=None)
    db.session.commit()
    advance.advance(*advance.claim_one("mine", first))
    clock.advance(60)
    run_all()
    assert count(status="paused") == 4
    bulk("resume", {"status": "paused"}, owner_id=None)
    run_all()
    assert count(status="completed") == 4


def test_bulk_retrying_reruns_the_step_that_failed(plain, calls):
    start(4, fails=True)
    start(1)
    drain()
    assert (count(status="failed"), calls) == (4, ["first"] * 5)
    calls[:] = ["mended"]
    run_id = bulk("retry", {"status": "failed"}, owner_id=None)
    run_all()
    assert get_run(run_id).output == {"met": 4, "done": 4}
    assert count(status="completed") == 5
    assert calls == ["mended"]


def test_a_run_that_failed_outside_any_step_or_whose_code_is_gone_is_left_out():
    @workflow("bare", on="test/bare", retries=0)
    def bare(ctx, step):
        raise KeyError

    send("test/bare", {}, owner_id=None)
    drain()
    run_id = bulk("retry", {"status": "failed"}, owner_id=None)
    run_all()
    assert get_run(run_id).output == {"met": 1, "done": 0}
    del workflows.by_name["bare"]
    run_id = bulk("replay", {"workflow": "bare"}, owner_id=None)
    run_all()
    assert get_run(run_id).output == {"met": 1, "done": 0}


def test_hooks_and_the_engines_own_runs_are_not_replayed(calls):
    @workflow("doomed", on="test/doomed", retries=0, on_failure=lambda *_: calls.append("hook"))
    def doomed(ctx, step):
        raise NonRetriable

    send("test/doomed", {}, owner_id=None)
    drain()
    bulk("replay", {}, owner_id=None)
    run_all()
    bulk("replay", {"workflow": "engine-bulk"}, owner_id=None)
    run_all()
    assert len(list_runs(workflow="doomed")) == 2
    assert len(list_runs(workflow="doomed-failed")) == 2
    assert len(list_runs(workflow="engine-bulk")) == 2


def test_only_runs_of_the_owner_are_meant_unless_somebody_says_everybodys(plain):
    alice, charlie = make_user().id, make_user("charlie@example.org").id
    start(2, alice)
    start(2, charlie)
    start(1)
    drain()
    run_id = bulk("replay", {"workflow": "plain"}, owner_id=alice)
    run_all()
    assert get_run(run_id).owner_id == alice
    assert (count(owner_id=alice), count(owner_id=charlie), count()) == (4, 2, 7)
    bulk("replay", {"workflow": "plain", "owner_id": None}, owner_id=alice)
    run_all()
    assert (count(owner_id=alice), count(owner_id=charlie), count()) == (8, 4, 14)


def test_runs_are_found_by_when_they_were_created(plain):
    start(2)
    clock.advance(3600)
    start(3)
    drain()
    between = datetime.now(UTC) + timedelta(minutes=30)
    assert (count(created_before=between), count(created_after=between)) == (2, 3)
    run_id = bulk("replay", {"workflow": "plain", "created_before": between}, owner_id=None)
    run_all()
    assert get_run(run_id).output == {"met": 2, "done": 2}
    run_id = bulk("replay", {"workflow": "plain", "created_after": between, "created_before": between}, owner_id=None)
    run_all()
    assert get_run(run_id).output == {"met": 0, "done": 0}


def test_limits_hold_and_no_lock_order_is_broken_when_runs_of_many_keys_are_cancelled():
    @workflow("keyed", on="test/keyed", concurrency=[Concurrency(1, key="event.data.key")])
    def keyed(ctx, step):
        pass

    for number in range(6):
        for _ in range(2):
            send("test/keyed", {"key": 5 - number}, owner_id=None)
    db.session.commit()
    run_id = bulk("cancel", {"workflow": "keyed"}, owner_id=None)
    db.session.commit()
    advance.advance(*advance.claim_one("mine", run_id))
    run_all()
    assert (
        len(list_runs(workflow="keyed", status="cancelled")) + len(list_runs(workflow="keyed", status="completed"))
        == 12
    )


@pytest.mark.parametrize(
    ("action", "wanted", "per_second"),
    [
        ("destroy", {}, 1),
        ("cancel", {"colour": "red"}, 1),
        ("cancel", {"owner_id": "no uuid"}, 1),
        ("cancel", {"owner_id": 7}, 1),
        ("cancel", {"created_before": "yesterday"}, 1),
        ("cancel", {"created_after": 2026}, 1),
        ("cancel", {"workflow": "a\0b"}, 1),
        *(("cancel", {}, odd) for odd in (0, float("nan"), float("inf"), 1e-12)),
    ],
)
def test_what_is_no_bulk_action_is_refused(action, wanted, per_second):
    with pytest.raises(EngineError):
        bulk(action, wanted, owner_id=None, per_second=per_second)


def test_a_filter_may_be_a_value_or_its_text(plain):
    alice = new_id()
    start(3, owner_id=alice)
    drain()
    newest = list_runs()[0].created_at
    for owner, before in ((alice, newest), (str(alice), newest.isoformat())):
        found = {"owner_id": owner, "created_before": before, "status": "completed", "workflow": "plain"}
        run_id = bulk("pause", found, owner_id=None)
        run_all()
        assert get_run(run_id).output["met"] == 3


def test_a_bulk_action_that_is_rolled_back_means_nothing(plain):
    bulk("cancel", {}, owner_id=None)
    db.session.rollback()
    assert list_runs() == []


def test_its_steps_show_what_it_did(plain):
    start(4)
    drain()
    run_id = bulk("replay", {"workflow": "plain"}, owner_id=None)
    run_all()
    assert [step.key for step in list_steps(run_id) if step.kind == "transaction"] == ["begin", "page", "page:1"]


def test_runs_that_are_made_after_it_has_begun_are_not_met(plain):
    start(2)
    drain()
    run_id = bulk("replay", {"workflow": "plain"}, owner_id=None)
    with crash_after("begin"):
        drain()
    start(1)
    run_all()
    assert get_run(run_id).output == {"met": 2, "done": 2}
