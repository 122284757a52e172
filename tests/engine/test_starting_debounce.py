"""Debounce runs the last event by its own time, capped."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from app.db import db
from app.engine import Debounce, EngineError, cancel, list_runs, send, sending, starting, upkeep, workflow
from app.engine.runtime import runtime
from app.engine.testing import clock, drain
from app.lib.ids import new_id

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def seen():
    found = []

    @workflow("index", on="test/index", debounce=Debounce("1m", key="event.data.key", timeout="100s"))
    def index(ctx, step):
        found.append(ctx.event.data["n"])

    @workflow("patient", on="test/patient", debounce=Debounce("1m"), subject="n:{event.data.n}")
    def patient(ctx, step):
        found.append(ctx.event.data["n"])

    return found


def start(n, name="index", owner=None, at=None, key="a"):
    send(f"test/{name}", {"n": n, "key": key}, owner_id=owner, at=at)
    db.session.commit()


def test_a_debounce_runs_the_last_of_many_events_once_they_have_come_to_rest(seen):
    for n in range(3):
        start(n)
        clock.advance(30)
    [run] = list_runs()
    assert (run.status, run.input["n"]) == ("debounced", 2)
    drain()
    assert seen == []
    clock.advance(31)
    drain()
    assert seen == [2]
    assert [run.status for run in list_runs()] == ["completed"]


def test_a_debounce_ends_at_its_timeout_whatever_still_comes(seen):
    for n in range(4):
        start(n)
        clock.advance(25)
    clock.advance(1)
    drain()
    assert seen == [3]
    start(4)
    assert {run.status for run in list_runs()} == {"completed", "debounced"}


def test_without_a_timeout_it_is_put_off_for_as_long_as_events_come(seen):
    for n in range(5):
        start(n, "patient")
        clock.advance(50)
        drain()
    assert seen == []
    assert list_runs()[0].subject == "n:4"


def test_the_event_that_is_latest_by_its_own_time_wins_not_the_one_that_came_last(seen):
    start("late", at=NOON + timedelta(seconds=1))
    start("early", at=NOON)
    drain(advance=True)
    assert seen == ["late"]


def test_without_times_of_their_own_the_order_in_which_they_were_sent_counts(seen):
    older, newer = (sending.make_event("test/index", {"n": n, "key": "a"}, owner_id=None) for n in (1, 2))
    for event in (newer, older):
        with runtime().pool.connection() as connection, connection.transaction():
            starting.write(connection, [event])
    drain(advance=True)
    assert seen == [2]


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(EngineError, match="time zone"):
        send("test/index", {}, owner_id=None, at=datetime(2026, 1, 1))  # noqa: DTZ001


def test_two_senders_at_once_make_one_run_of_the_later_event(seen):
    for turn in range(10):
        gate, errors = threading.Barrier(2), []

        def write(n, key, gate=gate, errors=errors):
            at = NOON + timedelta(seconds=n)
            event = sending.make_event("test/index", {"n": n, "key": key}, owner_id=None, at=at)
            connection = runtime().pool._open()
            try:
                gate.wait(10)
                with connection.transaction():
                    starting.write(connection, [event])
            except Exception as error:  # noqa: BLE001
                errors.append(error)
            finally:
                connection.close()

        threads = [threading.Thread(target=write, args=(n, str(turn))) for n in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
    assert [run.input["n"] for run in list_runs()] == [2] * 10


def test_several_events_of_one_transaction_are_one_run(seen):
    for n in range(3):
        send("test/index", {"n": n, "key": "a"}, owner_id=None)
    drain(advance=True)
    assert seen == [2]


def test_nobodys_key_puts_off_the_run_of_somebody_else(seen):
    alice, charlie = new_id(), new_id()
    start(1, owner=alice)
    clock.advance(50)
    start(2, owner=charlie)
    start(3, owner=charlie, key="b")
    clock.advance(11)
    drain()
    assert seen == [1]
    assert [run.owner_id for run in list_runs() if run.status == "debounced"] == [charlie, charlie]


def test_a_debounced_run_can_be_cancelled_and_the_next_event_makes_another(seen):
    start(1)
    assert cancel(list_runs()[0].id)
    start(2)
    drain(advance=True)
    assert seen == [2]


def test_a_run_whose_time_has_come_is_not_changed_by_a_later_event(seen):
    start(1)
    clock.advance(61)
    upkeep.run_pass()
    start(2)
    drain(advance=True)
    assert seen == [1, 2]
