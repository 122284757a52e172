"""Throttle delays starts (GCRA, burst). Rate limit skips with a visible skipped run and reason."""

from __future__ import annotations

import itertools
import threading
from datetime import UTC, datetime, timedelta

import pytest

from app.db import db
from app.engine import RateLimit, Throttle, list_runs, send, sending, starting, workflow
from app.engine.runtime import runtime
from app.engine.testing import clock, drain, sent_events
from app.lib.ids import new_id


@pytest.fixture
def started():
    """Runs of three workflows write here that they executed."""
    return []


@pytest.fixture(autouse=True)
def workflows(started):
    @workflow("throttled", on="test/throttled", throttle=Throttle(6, "1m", key="event.data.key", burst=2))
    def throttled(ctx, step):
        started.append(ctx.event.data["n"])

    limit = RateLimit(2, "1m", key="event.data.key")

    @workflow("limited", on="test/limited", rate_limit=limit, idempotency="event.data.once", on_failure=lambda *_: None)
    def limited(ctx, step):
        started.append(ctx.event.data["n"])


def start(name, *numbers, key="a", **data):
    for number in numbers:
        send(f"test/{name}", {"n": number, "key": key, **data}, owner_id=None)
    db.session.commit()


def oldest_first(**wanted):
    return list_runs(**wanted, limit=500)[::-1]


def at_once(count, name, **data):
    """Send `count` events from as many threads, each in a transaction of its own; fails when one of them fails."""
    gate, errors = threading.Barrier(count), []

    def one(number):
        event = sending.make_event(f"test/{name}", {"n": number, "key": "a", **data}, owner_id=None)
        connection = runtime().pool._open()
        try:
            gate.wait(10)
            with connection.transaction():
                starting.write(connection, [event])
        except Exception as error:  # noqa: BLE001
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_throttle_lets_its_burst_start_at_once_and_spaces_the_others_in_order(started):
    start("throttled", *range(5))
    assert [run.status for run in oldest_first()] == ["queued", "queued", "waiting", "waiting", "waiting"]
    late = [run for run in oldest_first() if run.due_at]
    assert {run.reason for run in late} == {"throttled"}
    assert [round((b.due_at - a.due_at).total_seconds(), 3) for a, b in itertools.pairwise(late)] == [10, 10]
    drain()
    assert sorted(started) == [0, 1]
    for count in (3, 4, 5):
        clock.advance(10)
        drain()
        assert len(started) == count
    assert started[2:] == [2, 3, 4]
    assert {(run.status, run.reason) for run in list_runs()} == {("completed", None)}


def test_nobody_overtakes_who_is_throttled_already(started):
    start("throttled", 0, 1, 2)
    clock.advance(9)
    start("throttled", 3)
    first, second = oldest_first()[2:]
    assert second.due_at - first.due_at == timedelta(seconds=10)


def test_each_key_of_a_throttle_has_its_own_place(started):
    start("throttled", 0, 1, 2)
    start("throttled", 3, key="b")
    assert [run.status for run in oldest_first()] == ["queued", "queued", "waiting", "queued"]


def test_never_more_than_limit_and_burst_start_in_a_window_however_many_send_at_once():
    at_once(12, "throttled")
    clock.advance(5)
    at_once(12, "throttled")
    starts = sorted(run.due_at or run.created_at for run in list_runs(limit=500))
    assert len(starts) == 24
    for begin in starts:
        assert sum(begin <= other < begin + timedelta(minutes=1) for other in starts) <= 6 + 2


def test_a_rate_limit_skips_with_a_visible_run_and_a_reason_that_says_when_it_frees(started):
    start("limited", *range(3))
    drain()
    assert sorted(started) == [0, 1]
    skipped = oldest_first()[2]
    assert (skipped.status, skipped.started_at) == ("skipped", None)
    assert skipped.finished_at is not None
    assert skipped.is_final
    sentence, _, free = skipped.reason.partition(" at ")
    assert sentence == "Skipped by the rate limit of 2 per 1m: the next run may start"
    frees_at = datetime.strptime(free, "%Y-%m-%d %H:%M:%S UTC.").replace(tzinfo=UTC)
    assert timedelta(seconds=28) < frees_at - skipped.created_at < timedelta(seconds=31)


def test_what_a_rate_limit_skips_tells_nobody_and_has_no_hook():
    start("limited", *range(3))
    drain()
    assert [event["name"] for event in sent_events() if event["name"].startswith("run/")] == ["run/completed"] * 2
    assert list_runs(workflow="limited-failed") == []


def test_a_rate_limit_frees_one_start_after_each_part_of_its_period(started):
    start("limited", *range(3))
    clock.advance(30.5)
    start("limited", 3, 4)
    assert [run.status for run in oldest_first()] == ["queued", "queued", "skipped", "queued", "skipped"]


def test_never_more_than_the_limit_pass_a_rate_limit_at_once():
    at_once(12, "limited")
    assert [run.status for run in list_runs()].count("queued") == 2


def test_a_skipped_run_releases_its_idempotency_key():
    start("limited", 0, 1)
    start("limited", 2, once="x")
    clock.advance(60)
    start("limited", 3, once="x")
    assert [run.status for run in oldest_first()] == ["queued", "queued", "skipped", "queued"]


def test_a_run_whose_key_is_taken_takes_no_place_of_a_rate_limit():
    for number in range(4):
        start("limited", number, once="x")
    start("limited", 4, once="y")
    assert [run.status for run in oldest_first()] == ["queued", "queued"]


def test_limits_on_starts_are_what_the_author_says_across_owners():
    for number in range(3):
        send("test/limited", {"n": number, "key": "a"}, owner_id=new_id())
    db.session.commit()
    assert [run.status for run in oldest_first()] == ["queued", "queued", "skipped"]


def test_senders_with_the_same_keys_in_opposite_orders_do_not_deadlock():
    """Flow keys of every kind are locked in one sorted order, whatever the order of the events."""
    names, errors, gate = [("throttled", "a"), ("limited", "b"), ("throttled", "c")], [], threading.Barrier(2)

    def write(order):
        events = [sending.make_event(f"test/{name}", {"n": 0, "key": key}, owner_id=None) for name, key in order]
        try:
            for _ in range(30):
                with runtime().pool.connection() as connection, connection.transaction(force_rollback=True):
                    gate.wait(10)
                    starting.write(connection, events)
        except Exception as error:  # noqa: BLE001
            errors.append(error)
            gate.abort()

    threads = [threading.Thread(target=write, args=(order,)) for order in (names, names[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
