"""Events: with the caller's transaction or not at all, once per id, never deadlocked, never hung by Redis."""

from __future__ import annotations

import socket
import threading
import time

import psycopg
import pytest
import sqlalchemy as sa

from app.accounts.models import User
from app.db import db
from app.engine import (
    EngineError,
    LimitExceeded,
    NotJson,
    Throttle,
    list_runs,
    send,
    sending,
    starting,
    store_events,
    workflow,
)
from app.engine.queue import Hints
from app.engine.runtime import runtime
from app.engine.testing import assert_sent, clock, drain, sent_events
from app.lib.ids import new_id


@pytest.fixture(autouse=True)
def listener():
    @workflow("listen", on="test/*", idempotency="event.data.once")
    def listen(ctx, step):
        return ctx.event.data


def commit():
    db.session.commit()
    return len(list_runs(limit=500))


def test_nothing_is_written_before_the_commit():
    send("test/a", {"n": 1}, owner_id=None)
    with db.engine.connect() as other:
        assert other.scalar(sa.text("SELECT count(*) FROM event")) == 0
    assert commit() == 1
    assert_sent("test/a", n=1)


def test_the_callers_rows_and_its_events_stand_or_fall_together():
    db.session.add(User(email="same@example.org"))
    db.session.commit()
    db.session.add(User(email="same@example.org"))
    send("test/a", {}, owner_id=None)
    with pytest.raises(sa.exc.IntegrityError):
        db.session.commit()
    db.session.rollback()
    assert commit() == 0


def test_a_session_that_is_closed_without_a_commit_sends_nothing():
    send("test/a", {}, owner_id=None)
    db.session.close()
    assert commit() == 0


def test_a_rolled_back_savepoint_takes_its_events_along_and_a_released_one_keeps_them():
    send("test/outer", {}, owner_id=None)
    savepoint = db.session.begin_nested()
    send("test/dropped", {}, owner_id=None)
    savepoint.rollback()
    with db.session.begin_nested():
        send("test/kept", {}, owner_id=None)
    db.session.commit()
    assert {event["name"] for event in sent_events()} == {"test/outer", "test/kept"}


def test_event_ids_are_idempotent_for_24_hours():
    for _ in range(2):
        send("test/a", {}, owner_id=None, id="once")
        send("test/a", {}, owner_id=None, id="once")
        db.session.commit()
    assert commit() == 1
    clock.advance(24 * 3600 + 1)
    send("test/a", {}, owner_id=None, id="once")
    assert commit() == 2


def test_event_ids_of_different_owners_do_not_collide():
    for _ in range(2):
        send("test/a", {}, owner_id=new_id(), id="once")
    assert commit() == 2


def test_a_repeated_id_gives_the_event_that_holds_it():
    first = send("test/a", {}, owner_id=None, id="once")
    assert send("test/a", {}, owner_id=None, id="once") == first  # in the same transaction
    assert commit() == 1
    assert send("test/a", {}, owner_id=None, id="once") == first  # and in later ones
    other = send("test/a", {}, owner_id=new_id(), id="once")
    assert commit() == 2
    assert {run.event_id for run in list_runs()} == {first, other}


def test_any_text_may_be_an_events_id():
    for text in ("x" * 10_000, "a\x00b"):
        send("test/a", {}, owner_id=None, id=text)
    assert commit() == 2


def test_an_idempotency_key_of_one_person_suppresses_no_run_of_another():
    people = [new_id(), new_id(), None]
    for _ in range(2):
        for person in people:
            send("test/a", {"once": "the same"}, owner_id=person)
        db.session.commit()
    assert {run.owner_id for run in list_runs()} == set(people)
    assert commit() == len(people)


def test_an_idempotency_key_starts_one_run_in_24_hours_however_many_events_come():
    for _ in range(3):
        send("test/a", {"once": "x"}, owner_id=None)
        db.session.commit()
    send("test/a", {"once": "y"}, owner_id=None)
    assert commit() == 2
    assert len(sent_events("test/a")) == 4


def test_an_idempotency_key_is_released_when_its_run_failed():
    @workflow("fails", on="other/fails", idempotency="event.data.once", retries=0)
    def fails(ctx, step):
        step.run("break", lambda: 1 / 0)

    for _ in range(2):
        send("other/fails", {"once": 1}, owner_id=None)
        drain()
    assert len(list_runs(workflow="fails")) == 2


def test_sends_in_opposite_orders_do_not_deadlock():
    """Two transactions that send the same ids in opposite orders: sorted, the second one waits and finds them taken."""
    ids = ["a", "b"]
    events = [
        [sending.make_event("test/a", {}, owner_id=None, unique_id=unique) for unique in order]
        for order in (ids, ids[::-1])
    ]
    errors = []
    start = threading.Barrier(2)

    def write(mine):
        try:
            for _ in range(30):
                with runtime().pool.connection() as connection, connection.transaction(force_rollback=True):
                    start.wait(5)
                    starting.write(connection, mine)
        except Exception as error:  # noqa: BLE001
            errors.append(error)
            start.abort()

    threads = [threading.Thread(target=write, args=(mine,)) for mine in events]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_deadlock_while_sending_is_repeated_once(monkeypatch):
    original, calls = starting.write, []

    def once(connection, events):
        calls.append(1)
        if len(calls) == 1:
            raise psycopg.errors.DeadlockDetected
        return original(connection, events)

    monkeypatch.setattr(starting, "write", once)
    send("test/a", {}, owner_id=None)
    assert commit() == 1


@pytest.mark.parametrize(
    "name", ["run/completed", "nameless", "Test/A", "test/a b", "test/" + "x" * 300, "", "a/../b?"]
)
def test_reserved_and_malformed_names_are_refused(name):
    with pytest.raises(EngineError):
        send(name, {}, owner_id=None)


def test_every_exceeded_limit_is_a_typed_error_naming_it(monkeypatch):
    with pytest.raises(LimitExceeded) as found:
        send("test/a", {"text": "x" * 600_000}, owner_id=None)
    assert found.value.limit == "event_bytes"
    with pytest.raises(NotJson):
        send("test/a", {"bad": {1}}, owner_id=None)
    with pytest.raises(NotJson):
        send("test/a", ["no", "object"], owner_id=None)
    monkeypatch.setattr(sending, "MAX_EVENTS", 2)
    send("test/a", {}, owner_id=None)
    send("test/a", {}, owner_id=None)
    with pytest.raises(LimitExceeded) as found:
        send("test/a", {}, owner_id=None)
    assert found.value.limit == "events_per_send"
    db.session.rollback()


def test_any_text_survives_a_payload():
    text = "\x00 \ud800 \U0001f600 '; DROP TABLE run; --"
    send("test/a", {"text": text}, owner_id=None)
    db.session.commit()
    drain()
    assert list_runs()[0].output == {"text": text}


def test_five_thousand_events_in_one_send_are_written():
    for number in range(5000):
        send("test/a", {"n": number}, owner_id=None)
    db.session.commit()
    with db.engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM run")) == 5000


def test_a_database_that_stumbles_while_a_step_sends_does_not_fail_the_run(monkeypatch):
    """The verb is the engine's own: nobody could say how often to try it again."""

    @workflow("tells", on="other/tells", retries=0)
    def tells(ctx, step):
        step.send_event("tell", "other/told", {})

    original, calls = starting.write, []

    def stumble(connection, events):
        if events[0].name == "other/told":
            calls.append(1)
            if len(calls) == 1:
                raise psycopg.OperationalError("terminating connection")
        return original(connection, events)

    send("other/tells", {}, owner_id=None)
    db.session.commit()
    monkeypatch.setattr(starting, "write", stumble)
    drain(advance=True)
    assert [run.status for run in list_runs(workflow="tells")] == ["completed"]
    assert len(sent_events("other/told")) == 1


def test_a_wildcard_never_matches_the_engines_own_events():
    drain()
    seen = []

    @workflow("all-runs", on="*")
    def all_runs(ctx, step):
        step.run("look", seen.append, ctx.event.name)

    send("test/a", {}, owner_id=None)
    drain()
    assert sent_events("run/completed")
    drain()
    assert seen == ["test/a"]


def test_lifecycle_events_start_workflows_but_not_of_runs_that_they_started():
    @workflow("notice", on="run/completed")
    def notice(ctx, step):
        return ctx.event.data["workflow"]

    owner = new_id()
    send("test/a", {}, owner_id=owner)
    drain()
    [run] = list_runs(workflow="notice")
    assert (run.output, run.owner_id) == ("listen", owner)
    assert len(sent_events("run/completed")) == 1


def test_a_hung_redis_does_not_hang_the_sender():
    """A server that accepts and never answers: the hint gives up after 250 ms, and the run is still there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        hints = Hints(f"redis://127.0.0.1:{server.getsockname()[1]}/0", "hung")
        begin = time.monotonic()
        hints.give([("listen", str(new_id()))])
        assert time.monotonic() - begin < 2


def nested(levels):
    value = 1
    for _ in range(levels):
        value = {"a": value}
    return value


def test_what_is_nested_deeper_than_its_readers_can_follow_is_a_typed_error():
    """Python's limit counts the caller's stack: whoever has a deeper one could not read it, and each look for waits broke."""
    send("test/deep", nested(200), owner_id=None)
    send("test/wide", {"rows": [{"a": 1}] * 1000}, owner_id=None)
    with pytest.raises(NotJson, match="nested deeper"):
        send("test/deeper", nested(201), owner_id=None)


def test_everything_is_written_in_sorted_order_keys_then_events_then_flow_keys_then_runs():
    @workflow("spaced", on="other/*", throttle=Throttle(1, "1h", key="event.data.key"))
    def spaced(ctx, step):
        raise AssertionError

    written = []

    class Recorder:
        def __init__(self, target):
            self.target = target

        def __getattr__(self, name):
            return getattr(self.target, name)

        def execute(self, statement, values=None):
            written.append((statement.split()[2], values))
            return self.target.execute(statement, values)

        def cursor(self, *args, **named):
            return Recorder(self.target.cursor(*args, **named))

        def __enter__(self):
            self.target.__enter__()
            return self

        def __exit__(self, *why):
            return self.target.__exit__(*why)

        def executemany(self, statement, rows):
            written.extend((statement.split()[2], row) for row in rows)
            return self.target.executemany(statement, rows)

    events = [sending.make_event("other/a", {"key": key}, owner_id=None, unique_id=key) for key in "cab"][::-1]
    with runtime().pool.connection() as connection, connection.transaction(force_rollback=True):
        starting.write(Recorder(connection), events)
    tables = [table for table, _ in written]
    assert list(dict.fromkeys(table for table in tables if table in ("idem", "event", "flow", "run"))) == [
        "idem",
        "event",
        "flow",
        "run",
    ]
    assert [values["key"] for table, values in written if table == "idem"] == ["a", "b", "c"]
    ids = [values["id"] for table, values in written if table == "event"]
    assert ids == sorted(ids)
    [keys] = [values[0] for table, values in written if table == "flow"]
    assert keys == sorted(keys)


def test_two_transactions_that_write_keys_in_opposite_orders_deadlock():
    """Why they are sorted: one of two that are not is ended by PostgreSQL."""
    scope, ended = store_events.event_scope(None), []
    together = threading.Barrier(2)

    def write(keys):
        try:
            with runtime().pool.connection() as connection, connection.transaction(force_rollback=True):
                for key in keys:
                    store_events.claim_keys(connection, {(scope, key): new_id()})
                    if key == keys[0]:
                        together.wait(10)
            ended.append("written")
        except psycopg.errors.DeadlockDetected:
            ended.append("deadlock")

    threads = [threading.Thread(target=write, args=(keys,)) for keys in ("ab", "ba")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ended) == ["deadlock", "written"]


def test_a_second_deadlock_in_a_row_is_the_callers(monkeypatch):
    def deadlock(_connection, _events):
        raise psycopg.errors.DeadlockDetected

    monkeypatch.setattr(starting, "write", deadlock)
    send("test/a", {}, owner_id=None)
    with pytest.raises(psycopg.errors.DeadlockDetected):
        db.session.commit()
    db.session.rollback()
    assert sent_events() == []
