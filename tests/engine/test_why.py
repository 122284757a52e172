"""Why a run is not executing: every reason, in words, with who is in the way."""

from __future__ import annotations

import pytest

from app.db import db
from app.engine import (
    Concurrency,
    NonRetriable,
    RetryAfter,
    advance,
    list_runs,
    pause,
    pause_workflow,
    send,
    store_upkeep,
    upkeep,
    why_not_started,
    workflow,
)
from app.engine.registry import registry
from app.engine.runtime import runtime
from app.engine.testing import clock, drain
from app.engine.upkeep import identity
from app.lib.ids import new_id


@pytest.fixture
def plain():
    @workflow("plain", on="test/plain", backoff=(60,))
    def plain(ctx, step):
        how = ctx.event.data.get("how")

        def work():
            if how == "retry":
                raise OSError
            raise RetryAfter(60)

        if how == "body":
            raise OSError
        if how:
            step.run("work", work)


@pytest.fixture
def a_worker(plain):
    beat()


def beat(kind="worker"):
    with runtime().pool.connection() as connection:
        store_upkeep.seen(connection, identity("one", kind, 16))


def start(name="test/plain", **data):
    send(name, data, owner_id=None)
    db.session.commit()
    return list_runs()[0].id


def why(run_id):
    db.session.rollback()
    return why_not_started(run_id)


def test_a_run_that_executes_or_has_ended_or_does_not_exist_is_not_held(a_worker):
    run_id = start()
    [claimed] = advance.claim_batch("mine", 1)
    assert why(run_id) is None
    advance.advance(*claimed)
    assert why(run_id) is None
    assert why(new_id()) is None


def test_no_worker(plain):
    run_id = start()
    assert why(run_id).reason == "no-worker"
    beat("upkeep")
    assert why(run_id).reason == "no-worker"
    assert "throughline worker" in why(run_id).sentence


def test_a_worker_that_was_last_heard_of_long_ago_is_none(a_worker):
    run_id = start()
    clock.advance(31)
    assert why(run_id).reason == "no-worker"


def test_no_worker_knows_it(plain):
    run_id = start()
    with runtime().pool.connection() as connection:
        store_upkeep.seen(connection, {**identity("old", "worker", 16), "workflows": ["other"]})
    assert why(run_id).reason == "no-worker-knows-it"
    beat()
    assert why(run_id).reason == "queue"


def test_the_queue_and_the_place_in_it(a_worker):
    runs = [start() for _ in range(3)]
    assert [(why(run).reason, why(run).position) for run in runs] == [("queue", 1), ("queue", 2), ("queue", 3)]
    assert why(runs[2]).sentence == "It is number 3 of all that wait for a free worker."


def test_a_full_limit_says_which_who_has_the_slots_and_the_place(a_worker):
    @workflow("limited", on="test/limited", concurrency=[Concurrency(2, key="event.data.who")])
    def limited(ctx, step):
        pass

    beat()
    runs = [start("test/limited", who="alice") for _ in range(4)]
    other = start("test/limited", who="charlie")
    assert why(runs[0]).reason == "queue"
    busy = {run.id for run, _ in advance.claim_batch("mine", 2)}
    assert busy == set(runs[:2])
    for found in (why(runs[3]), _when_set_aside(runs[3])):
        assert (found.reason, found.position, found.next_at) == ("concurrency", 2, None)
        assert found.limit == "2 of limited at once for the event.data.who alice"
        assert set(found.occupied_by) == busy
        assert found.sentence == f"Its limit is {found.limit}; it is number 2 in that queue."
    assert why(other) is None or why(other).reason == "queue"


def _when_set_aside(run_id):
    advance.claim_batch("mine", 5)
    return why(run_id)


def test_at_most_ten_occupants_are_named(a_worker):
    @workflow("limited", on="test/limited", concurrency=[Concurrency(12)])
    def limited(ctx, step):
        pass

    beat()
    for _ in range(13):
        last = start("test/limited")
    assert sum(len(advance.claim_batch("mine", 12)) for _ in range(2)) == 12
    found = why(last)
    assert (found.reason, len(found.occupied_by), found.limit) == ("concurrency", 10, "12 of limited at once")


def test_a_limit_of_newer_code_is_named_as_far_as_it_is_known(a_worker, execute):
    run_id = start()
    execute("UPDATE run SET flow_a = 'plain#1:', held_by = 'plain#1:'")
    assert why(run_id).limit == "one of plain that this code does not know"
    registry.by_name.clear()
    execute("UPDATE worker SET workflows = NULL")
    assert why(run_id).reason == "concurrency"


def test_a_paused_run(a_worker):
    run_id = start()
    pause(run_id)
    db.session.commit()
    assert why(run_id).reason == "paused"


def test_a_paused_workflow_before_and_after_upkeep_has_set_its_runs_aside(a_worker):
    first, second = start(), start()
    pause_workflow("plain")
    db.session.commit()
    for _ in range(2):
        assert (why(first).reason, why(first).position) == ("workflow-paused", 1)
        assert (why(second).reason, why(second).position) == ("workflow-paused", 2)
        upkeep.run_pass()


@pytest.mark.parametrize("status", ["waiting", "debounced"])
def test_a_start_that_is_put_off_says_until_when(a_worker, execute, status):
    run_id = start()
    execute("UPDATE run SET status = :status, due_at = engine_now() + interval '1 hour'", status=status)
    found = why(run_id)
    assert found.reason == {"waiting": "throttle", "debounced": "debounce"}[status]
    assert found.next_at is not None


@pytest.mark.parametrize("how", ["retry", "defer", "body"])
def test_a_run_whose_step_or_body_is_tried_again_backs_off(a_worker, how):
    run_id = start(how=how)
    drain()
    found = why(run_id)
    assert found.reason == "backing-off"
    assert found.next_at is not None
    assert ("step work" in found.sentence) == (how != "body")


def test_a_sleeping_and_a_waiting_run(a_worker, execute):
    run_id = start(how="defer")
    drain()
    execute("DELETE FROM step_attempt")
    assert why(run_id).reason == "sleeping"
    child = start(how="defer")
    execute("UPDATE run SET parent_run = :run, parent_step = 'embed' WHERE id = :child", run=run_id, child=child)
    assert (why(run_id).reason, why(run_id).child) == ("waiting", child)
    execute(
        """INSERT INTO wait (run_id, key, topic, kind, since, created_at)
        VALUES (:id, 'w', '\\:test/approved', 'event', now(), now()), (:id, 'w', 'x\\:test/refused', 'event', now(), now()),
               (:id, 'cancel:0', '\\:test/gone', 'cancel', now(), now())""",
        id=run_id,
    )
    assert why(run_id).sentence == "It waits for the event test/approved or test/refused."


def test_a_failed_run_is_not_held(plain):
    @workflow("failing", on="test/failing")
    def failing(ctx, step):
        raise NonRetriable

    run_id = start("test/failing")
    drain()
    assert why(run_id) is None


def test_why_says_of_a_body_that_was_put_off_that_it_backs_off():
    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        raise RetryAfter(60)

    run_id = start("test/w")
    drain()
    assert why_not_started(run_id).sentence == "Its body has put itself off and is tried again."


def test_why_says_that_no_worker_takes_isolated_runs(monkeypatch):
    @workflow("w", on="test/w", isolated=True)
    def w(ctx, step):
        pass

    monkeypatch.setattr(runtime(), "isolated", False)
    with runtime().pool.connection() as connection:
        store_upkeep.seen(connection, identity("threads-only", "worker", 16))
    assert why_not_started(start("test/w")).reason == "no-worker-knows-it"


def test_why_names_what_a_run_goes_on_for_next():
    @workflow("w", on="test/w", retries=3)
    def w(ctx, step):
        step.parallel(
            "both",
            {"wait": lambda s: s.wait_for_event("x", "test/x", timeout="30d"), "work": lambda s: s.run("a", fail)},
        )

    def fail():
        raise ValueError

    run_id = start("test/w")
    drain()
    assert why_not_started(run_id).reason == "backing-off"
