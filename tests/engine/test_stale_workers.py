"""Whatever a worker writes of a run that is no longer its own is refused: one test for each fence."""

from __future__ import annotations

import threading

import pytest

from app.db import db
from app.engine import (
    advance,
    children,
    get_run,
    list_runs,
    list_waits,
    memory,
    send,
    store,
    store_upkeep,
    upkeep,
    waits,
    workflow,
)
from app.engine.errors import LostLease
from app.engine.execution import load
from app.engine.registry import registry
from app.engine.runtime import runtime
from app.engine.store import NewMemo, PastAttempt
from app.engine.testing import SimulatedCrash, clock
from app.lib.ids import new_id
from tests.engine.locks import waits_for_a_lock


@pytest.fixture(autouse=True)
def workflows():
    @workflow("parent", on="test/parent")
    def parent(ctx, step):
        raise AssertionError("nobody advances it here")

    @workflow("child", on=())
    def child(ctx, step):
        pass


@pytest.fixture
def mine():
    """A run as its worker has it."""
    send("test/parent", {}, owner_id=None)
    db.session.commit()
    [(run, claimed_at)] = advance.claim_batch("mine", 1)
    return load(run, registry.by_name["parent"], claimed_at=claimed_at)


def register(execution):
    wanted = waits.Wanted(("a/b",), None, None, 60.0, None)
    waits._look_at(execution, "wait", wanted)


def invoke(execution):
    children._start(execution, "child", children.Child("child", {}, 60.0, is_cancelled_with_parent=False))


def fail_a_try(execution):
    attempt = PastAttempt("step", 1, False, execution.now(), None)
    with runtime().pool.connection() as connection:
        if not store.record_attempt(connection, execution.run, attempt, "{}", 60.0)[0]:
            raise LostLease(execution.run.id)


def look_again(execution):
    with runtime().pool.connection() as connection:
        if not store.look_again(connection, execution.run):
            raise LostLease(execution.run.id)


def give_back(execution):
    with runtime().pool.connection() as connection, connection.transaction():
        if not store.leave(connection, execution.run, "queued"):
            raise LostLease(execution.run.id)


def finish(execution):
    if not advance.finish_repeating(execution.run.id, execution.run.epoch, advance.Ending("completed")).is_done:
        raise LostLease(execution.run.id)


WRITES = [register, invoke, fail_a_try]
ALL = [*WRITES, look_again, give_back, finish]


def what_there_is(execute):
    counts = "SELECT (SELECT count(*) FROM wait), (SELECT count(*) FROM run), (SELECT count(*) FROM step_attempt)"
    return tuple(execute(counts).one()), tuple(execute("SELECT status, epoch, worker FROM run").one())


def give_up(execution):
    """Let the lease of a run run out, and upkeep rescue it."""
    clock.advance(runtime().ports.lease_seconds + 1)
    upkeep.run_pass()
    assert get_run(execution.run.id).status == "queued"


@pytest.mark.parametrize("write", ALL)
def test_nothing_is_written_by_a_worker_whose_run_another_one_has(mine, write, execute):
    give_up(mine)
    assert len(advance.claim_batch("other", 1)) == 1
    before = what_there_is(execute)
    with pytest.raises(LostLease):
        write(mine)
    assert what_there_is(execute) == before
    assert before[1] == ("running", mine.run.epoch + 1, "other")


@pytest.mark.parametrize("write", ALL)
def test_nothing_is_written_by_a_worker_whose_run_was_rescued_and_has_nobody_yet(mine, write, execute):
    """It has the epoch of old until somebody claims it."""
    give_up(mine)
    before = what_there_is(execute)
    with pytest.raises(LostLease):
        write(mine)
    assert what_there_is(execute) == before


@pytest.mark.parametrize("write", WRITES)
def test_a_write_waits_for_a_rescue_that_is_not_committed_and_then_is_refused(mine, write, execute, monkeypatch):
    """Without the lock of its fence it would be there a moment later, of nobody's run."""
    rescuer, writer, refused = runtime().pool._open(), runtime().pool._open(), []
    runtime().pool._idle.append(writer)  # the write takes what was put back last

    def target():
        try:
            write(mine)
        except LostLease as lost:
            refused.append(lost)

    if write is register:
        mine.once("waits", dict)  # what it knows already, so that the first it says is the row
    with rescuer.transaction():
        rescuer.execute(store_upkeep.RESCUE, {"id": mine.run.id, "epoch": mine.run.epoch})
        thread = threading.Thread(target=target)
        thread.start()
        waits_for_a_lock(writer)
    thread.join()
    rescuer.close()
    assert len(refused) == 1
    assert list_waits(mine.run.id) == []
    assert [run.status for run in list_runs()] == ["queued"]
    assert execute("SELECT count(*) FROM step_attempt").scalar() == 0


@pytest.mark.parametrize("by_id", [False, True])
def test_two_workers_that_claim_at_once_get_different_runs_and_do_not_wait(by_id):
    for _ in range(2):
        send("test/parent", {}, owner_id=None)
    db.session.commit()
    ids = [run.id for run in list_runs()]
    first, second = runtime().pool._open(), runtime().pool._open()
    second.execute("SET lock_timeout = '1s'")

    def claim(connection, limit):
        if by_id:
            return store.claim_these(connection, ids[-limit:], worker="x", lease=30)
        return store.claim(connection, worker="x", lease=30, workflows=["parent"], limit=limit)

    with first.transaction():
        assert len(claim(first, 1)) == 1
        assert len(claim(second, 2)) == 1
    for connection in (first, second):
        connection.close()
    assert {(run.status, run.worker) for run in list_runs()} == {("running", "x")}
    assert claim_late(ids) == []


def test_a_run_that_is_held_or_of_an_unknown_workflow_is_claimed_by_nobody_even_with_a_hint(execute, monkeypatch):
    """During a deploy a hint reaches a worker with the code of before."""
    send("test/parent", {}, owner_id=None)
    db.session.commit()
    [run] = list_runs()
    execute("UPDATE run SET held_by = 'parent#0:'")
    assert claim_late([run.id]) == []
    execute("UPDATE run SET held_by = NULL")
    with monkeypatch.context() as patch:
        patch.delitem(registry.by_name, "parent")
        with runtime().pool.connection() as connection:
            assert store.claim_these(connection, [run.id], worker="old", lease=30) == []
    assert len(claim_late([run.id])) == 1


def claim_late(ids):
    """Return what somebody gets who comes later."""
    with runtime().pool.connection() as connection:
        found = store.claim_these(connection, ids, worker="late", lease=30)
        return found + store.claim(connection, worker="late", lease=30, workflows=["parent"], limit=9)


def test_a_try_that_is_recorded_as_failed_is_not_remembered_while_its_run_goes_on_in_another_branch(mine):
    """It has timed out, and comes back late: of its run and epoch everything is as it was."""
    fail_a_try(mine)
    tries = [NewMemo(mine.run_id, mine.run.epoch, "step", "run", "completed", "{1}", "[]", "1", None, None, 1, 0.0)] * 2
    with runtime().pool.connection() as connection:
        stored = [store.checkpoint(connection, memo._replace(number=n)) for n, memo in enumerate(tries, 1)]
    assert [(each.is_mine, each.is_new) for each in stored] == [(False, False), (True, True)]


def test_a_worker_whose_run_was_rescued_adopts_nothing_though_key_and_epoch_are_its_own(mine):
    memo = NewMemo(mine.run_id, mine.run.epoch, "step", "run", "completed", "{1}", "[]", "1", None, None, 1, 0.0)
    with runtime().pool.connection() as connection:
        assert store.checkpoint(connection, memo).is_new
    give_up(mine)
    with runtime().pool.connection() as connection:
        assert store.checkpoint(connection, memo) == store.Stored(is_mine=False, is_new=False)


@pytest.mark.parametrize("status", ["queued", "paused", "debounced", "completed", "dead"])
def test_what_wakes_a_run_leaves_one_that_neither_waits_nor_executes_as_it_is(execute, status):
    """One that a throttle had put off when it was paused, for example, keeps its time."""
    send("test/parent", {}, owner_id=None)
    db.session.commit()
    execute("UPDATE run SET status = :status, due_at = now() + interval '1 h'", status=status)
    before = tuple(execute("SELECT * FROM run").one())
    with runtime().pool.connection() as connection:
        assert store.wake(connection, [list_runs()[0].id]) == []
    assert tuple(execute("SELECT * FROM run").one()) == before


def test_no_large_result_is_left_behind_that_no_memo_knows(monkeypatch, mine, execute):
    """It is written before its memo, in one transaction: of a stale worker's, or one that dies there, nothing stays."""
    large = NewMemo(
        str(mine.run.id), mine.run.epoch, "large", "run", "completed", "{1}", None, '"x"', new_id(), None, 3, 0.1
    )

    def die(*_):
        raise SimulatedCrash

    with monkeypatch.context() as dying:
        dying.setattr(store, "checkpoint", die)
        with pytest.raises(SimulatedCrash):
            memory._write_alone(large)
    assert not memory._write_alone(large._replace(epoch=mine.run.epoch - 1)).is_mine
    assert execute("SELECT count(*) FROM blob").scalar() == 0
    assert memory._write_alone(large).is_new
    assert execute("SELECT count(*) FROM blob").scalar() == 1
