"""Flow keys, then runs by id: whoever ends an invoked run wakes the one above it, and that is the older one."""

from __future__ import annotations

import threading

import pytest
import structlog

from app.db import db
from app.engine import (
    Singleton,
    advance,
    cancel,
    endings,
    get_run,
    list_runs,
    send,
    store,
    store_flows,
    upkeep,
    workflow,
)
from app.engine.runtime import runtime
from app.engine.testing import clock, drain
from tests.engine.locks import wait_for_one_behind, waits_for_a_lock


@pytest.fixture
def connect():
    opened = []

    def connect():
        opened.append(runtime().pool._open())
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


@pytest.fixture
def family():
    """A parent that waits for its child, which sleeps."""

    @workflow("child", on=())
    def child(ctx, step):
        step.sleep("nap", "2h")

    @workflow("parent", on="test/parent")
    def parent(ctx, step):
        step.invoke("child", "child", timeout="1d", cancel_child=True)

    send("test/parent", {}, owner_id=None)
    drain()
    return list_runs(workflow="parent")[0].id, list_runs(workflow="child")[0].id


def test_whoever_cancels_a_child_stands_behind_whoever_has_its_parent_and_has_locked_nothing_that_he_wants(
    family, connect
):
    parent, child = family
    person, other = connect(), connect()

    def cancel_child():
        with other.transaction():
            endings.cancel(other, endings.lock(other, [child])[child], "no longer wanted")

    thread = threading.Thread(target=cancel_child)
    with person.transaction():
        endings.lock(person, [parent])
        thread.start()
        waits_for_a_lock(other)
        found = endings.lock(person, [parent, child])
        endings.cancel(person, found[parent], "all of it")
    thread.join()
    assert [get_run(run_id).status for run_id in family] == ["cancelled", "cancelled"]


def test_upkeep_leaves_a_child_alone_while_somebody_has_its_parent(family, connect, execute):
    parent, child = family
    execute("UPDATE run SET deadline_at = engine_now() - interval '1 second' WHERE id = :id", id=child)
    person = connect()
    with person.transaction():
        endings.lock(person, [parent])
        with structlog.testing.capture_logs() as lines:
            upkeep.run_pass()
        assert (get_run(child).status, lines) == ("waiting", [])
        db.session.rollback()
    upkeep.run_pass()
    assert get_run(child).status == "cancelled"


def test_a_child_whose_parent_is_gone_is_cancelled_all_the_same(family, execute):
    parent, child = family
    execute("DELETE FROM run WHERE id = :id", id=parent)
    execute("UPDATE run SET deadline_at = engine_now() - interval '1 second' WHERE id = :id", id=child)
    upkeep.run_pass()
    assert get_run(child).status == "cancelled"


def test_whoever_invokes_locks_the_keys_of_the_child_before_the_run_that_invokes_it(connect):
    """As somebody does who ends a child as its successor: he has the key, and wakes the one above."""

    @workflow("only", on=(), singleton=Singleton(mode="cancel"))
    def only(ctx, step):
        pass

    @workflow("above", on="test/above")
    def above(ctx, step):
        return step.invoke("child", only)

    send("test/above", {}, owner_id=None)
    db.session.commit()
    [run] = list_runs()
    [(claimed, claimed_at)] = advance.claim_batch("mine", 1)
    other = connect()
    thread = threading.Thread(target=advance.advance, args=(claimed, claimed_at))
    with other.transaction():
        store_flows.lock(other, ["only#singleton:None:"])
        thread.start()
        wait_for_one_behind(other)
        store.wake(other, [run.id])
    thread.join()
    drain()
    assert get_run(run.id).status == "completed"


def test_a_child_that_is_cancelled_wakes_its_parent(family):
    parent, child = family
    cancel(child)
    db.session.commit()
    clock.advance(1)
    drain()
    assert get_run(parent).error["code"] == "child_cancelled"
