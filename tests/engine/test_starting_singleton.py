"""Singleton skip or cancel: one run at a time, per owner and key."""

from __future__ import annotations

import threading

import pytest

from app.db import db
from app.engine import (
    Concurrency,
    RateLimit,
    Singleton,
    Throttle,
    advance,
    cancel,
    get_run,
    list_runs,
    rerun_from,
    send,
    sending,
    starting,
    workflow,
)
from app.engine.registry import registry
from app.engine.runtime import runtime
from app.engine.store_events import Event
from app.engine.testing import assert_sent, clock, drain
from app.lib.ids import new_id
from tests.engine.locks import waits_for_a_lock


@pytest.fixture(autouse=True)
def hooks():
    seen = []

    @workflow("only", on="test/only", singleton=Singleton(key="event.data.key"), idempotency="event.data.once")
    def only(ctx, step):
        step.run("work", lambda: None)

    @workflow(
        "newest",
        on="test/newest",
        singleton=Singleton(key="event.data.key", mode="cancel"),
        concurrency=[Concurrency(1, key="event.data.key")],
        on_failure=lambda _ctx, outcome: seen.append((outcome.run_id, outcome.status)),
    )
    def newest(ctx, step):
        step.run("first", lambda: None)
        step.run("second", lambda: None)

    return seen


def start(name, key="a", owner=None, **data):
    send(f"test/{name}", {"key": key, **data}, owner_id=owner)
    db.session.commit()
    return list_runs(workflow=name)[0]


def statuses(name):
    return [run.status for run in list_runs(workflow=name, limit=500)[::-1]]


def test_a_later_run_is_skipped_and_says_for_which_other_run():
    first, second = start("only"), start("only")
    assert (second.status, second.is_final) == ("skipped", True)
    assert second.reason == f"Skipped by the singleton: run {first.id} has not ended yet."
    drain()
    assert start("only").status == "queued"


def test_a_skipped_run_releases_its_idempotency_key_here_too():
    start("only")
    start("only", once="x")
    drain()
    assert start("only", once="x").status == "queued"


def test_each_key_and_each_owner_has_a_singleton_of_its_own():
    alice, charlie = new_id(), new_id()
    for owner in (alice, charlie):
        for key in ("a", "b", "a"):
            start("only", key, owner)
            start("newest", key, owner)
    assert statuses("only") == ["queued", "queued", "skipped"] * 2
    assert statuses("newest") == ["cancelled", "queued", "queued"] * 2


def test_an_earlier_run_that_has_not_started_is_cancelled_at_once_with_hook_and_event(hooks):
    first, second = start("newest"), start("newest")
    reason = f"Cancelled by the singleton: run {second.id} took its place."
    assert (get_run(first.id).status, get_run(first.id).reason) == ("cancelled", reason)
    drain()
    assert get_run(second.id).status == "completed"
    assert hooks == [(first.id, "cancelled")]
    assert_sent("run/cancelled", run_id=str(first.id), reason=reason)


def test_an_earlier_run_that_executes_is_asked_to_stop_and_keeps_what_it_has_done(hooks):
    first = start("newest")
    [(claimed, at)] = advance.claim_batch("mine", 1)
    second = start("newest")
    assert get_run(first.id).requested == "cancel"
    assert advance.advance(claimed, at) == "cancelled"
    drain()
    assert get_run(first.id).reason == f"Cancelled by the singleton: run {second.id} took its place."
    assert get_run(second.id).status == "completed"
    assert hooks == [(first.id, "cancelled")]


@pytest.mark.parametrize("is_running", [False, True])
def test_waits_and_pages_are_told_of_the_run_whose_place_was_taken(monkeypatch, is_running):
    @workflow("mourner", on="test/mourner")
    def mourner(ctx, step):
        return step.wait_for_event("end", "run/cancelled", timeout="1h").data["run_id"]

    start("mourner")
    drain()
    first = start("newest")
    if is_running:
        [(claimed, at)] = advance.claim_batch("mine", 1)
    announced = set()
    monkeypatch.setattr(runtime(), "announce", announced.update)
    start("newest")
    assert f"run:{first.id}" in announced
    if is_running:
        advance.advance(claimed, at)
    else:  # without upkeep
        assert list_runs(workflow="mourner")[0].status == "queued"
    drain()
    assert list_runs(workflow="mourner")[0].output == str(first.id)


def test_who_is_refused_by_a_rate_limit_cancels_nobody():
    @workflow("both", on="test/both", singleton=Singleton(mode="cancel"), rate_limit=RateLimit(1, "1h"))
    def both(ctx, step):
        pass

    start("both")
    start("both")
    assert statuses("both") == ["queued", "skipped"]


@pytest.mark.parametrize(("name", "left"), [("only", "skipped"), ("newest", "cancelled")])
def test_of_several_senders_at_once_one_run_is_left(name, left):
    count = 6
    gate, errors = threading.Barrier(count), []

    def write():
        event = sending.make_event(f"test/{name}", {"key": "a"}, owner_id=None)
        connection = runtime().pool._open()
        try:
            gate.wait(10)
            with connection.transaction():
                starting.write(connection, [event])
        except Exception as error:  # noqa: BLE001
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=write) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(statuses(name)) == sorted(["queued"] + [left] * (count - 1))


def test_a_second_sender_waits_for_the_first_ones_commit_and_then_sees_its_run():
    first = sending.make_event("test/only", {"key": "a"}, owner_id=None)
    second = sending.make_event("test/only", {"key": "a"}, owner_id=None)
    one, two = runtime().pool._open(), runtime().pool._open()
    try:
        with one.transaction():
            starting.write(one, [first])
            thread = threading.Thread(target=lambda: starting.write(two, [second]))
            thread.start()
            waits_for_a_lock(two)
        thread.join()
    finally:
        one.close()
        two.close()
    assert sorted(statuses("only")) == ["queued", "skipped"]


def test_invoked_runs_pass_the_singleton_but_not_the_limits_on_starts():
    """Somebody waits for just this run; but two at a time there must not be."""

    @workflow("strict", on="test/strict", singleton=Singleton(), rate_limit=RateLimit(1, "1h"), idempotency="event.id")
    def strict(ctx, step):
        pass

    def invoke():
        event = Event(new_id(), "test/strict", {}, None, None)
        with runtime().pool.connection() as connection, connection.transaction():
            plan = starting.plan(registry.by_name["strict"], event, parent_run=new_id(), parent_step="call")
            return starting.insert_runs(connection, [plan]).started[0]

    run = start("strict")
    assert invoke().status == "skipped"
    cancel(run.id)
    db.session.commit()
    found = invoke()
    assert (found.status, found.rate_key, found.idempotency_key) == ("queued", None, None)


def test_a_rerun_passes_the_limits_on_starts():
    @workflow("once", on="test/once", rate_limit=RateLimit(1, "1h"), idempotency="event.data.key")
    def once(ctx, step):
        step.run("work", lambda: None)

    run = start("once")
    drain()
    again = rerun_from(run.id, "work")
    drain()
    assert get_run(again).status == "completed"


def test_a_throttled_run_counts_as_going_on(hooks):
    @workflow("slow", on="test/slow", singleton=Singleton(), throttle=Throttle(1, "1h"))
    def slow(ctx, step):
        pass

    start("slow")
    drain()
    start("slow")
    start("slow")
    assert statuses("slow") == ["completed", "waiting", "skipped"]
    clock.advance(3601)
    drain()
    assert statuses("slow") == ["completed", "completed", "skipped"]


def test_senders_that_cancel_each_others_runs_in_opposite_orders_do_not_deadlock():
    """Also the keys of the runs that are cancelled are locked in the one sorted order."""
    errors, gate = [], threading.Barrier(2)

    def write(keys):
        connection = runtime().pool._open()
        try:
            for _ in range(20):
                events = [sending.make_event("test/newest", {"key": key}, owner_id=None) for key in keys]
                gate.wait(10)
                with connection.transaction():
                    starting.write(connection, events)
        except Exception as error:  # noqa: BLE001
            errors.append(error)
            gate.abort()
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=(keys,)) for keys in ("abc", "cba")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert statuses("newest").count("queued") == 3
