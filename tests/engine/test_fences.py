"""Leases and fences: the races that were seen to go wrong, each with its remedy."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest

from app.db import db
from app.engine import (
    Concurrency,
    advance,
    get_run,
    list_runs,
    list_steps,
    send,
    store,
    store_flows,
    store_upkeep,
    upkeep,
    workflow,
)
from app.engine.errors import LostLease
from app.engine.execution import load
from app.engine.registry import registry
from app.engine.runtime import runtime
from app.engine.store import NewMemo
from app.engine.testing import clock, drain
from app.lib import outside
from tests.engine.locks import waits_for_a_lock


def memo_of(run, key="step", output="1"):
    return NewMemo(str(run.id), run.epoch, key, "run", "completed", "{1}", "[]", output, None, None, 1, 0.0)


@pytest.fixture
def idle():
    @workflow("idle", on="test/idle")
    def idle(ctx, step):
        return step.run("step", lambda: 1)


@pytest.fixture
def claimed(idle):
    send("test/idle", {}, owner_id=None)
    db.session.commit()
    [(run, _)] = advance.claim_batch("mine", 1)
    return run


@pytest.fixture
def connect():
    opened = []

    def connect():
        connection = runtime().pool._open()
        connection.execute("SET lock_timeout = '10s'")  # a race that goes wrong fails, and does not hang
        opened.append(connection)
        return connection

    yield connect
    for connection in opened:
        connection.close()


def take_over(run):
    clock.advance(runtime().ports.lease_seconds + 1)
    upkeep.run_pass()
    [(again, _)] = advance.claim_batch("other", 1)
    assert again.id == run.id
    return again


def in_thread(work):
    results = []

    def target():
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001
            results.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    return thread, results


def test_a_pass_of_upkeep_waits_for_nobody(idle, connect):
    """A process froze between a checkpoint and its COMMIT, with a flow key and an event's id locked: all else goes on."""

    @workflow("keyed", on="test/keyed", concurrency=[Concurrency(1, key="event.data.key")])
    def keyed(ctx, step):
        pass

    for key in ("frozen", "frozen", "free", "free"):
        send("test/keyed", {"key": key}, owner_id=None)
    send("test/idle", {}, owner_id=None)
    send("test/idle", {}, owner_id=None, id="once")
    db.session.commit()
    claimed = {run.flow_a or run.id: run for _ in range(4) for run, _ in advance.claim_batch("mine", 4)}
    stuck, lost = [run for run in claimed.values() if run.workflow == "idle"]
    clock.advance(24 * 3600 + 1)
    frozen, passing = connect(), runtime().pool._open()
    frozen.execute("BEGIN")
    frozen.execute(store_flows.LOCK, [["keyed#0:frozen"]])
    frozen.execute("SELECT FROM idem FOR UPDATE")
    assert store.checkpoint(frozen, memo_of(stuck)).is_new
    passing.execute("SET lock_timeout = '1s'")
    runtime().pool._idle.append(passing)  # the pass takes what was put back last
    upkeep.run_pass()
    held = {(run.event_id, run.held_by) for run in list_runs(workflow="keyed") if run.held_by}
    assert {held_by for _, held_by in held} == {"keyed#0:frozen"}
    statuses = {run.id: run.status for run in list_runs()}
    assert (statuses[stuck.id], statuses[lost.id]) == ("running", "queued")
    assert statuses[claimed["keyed#0:frozen"].id] == "running"
    assert statuses[claimed["keyed#0:free"].id] == "queued"
    frozen.execute("ROLLBACK")
    upkeep.run_pass()
    db.session.rollback()
    assert {run.status for run in list_runs()} == {"queued"}


def test_a_claim_reads_its_memos_on_a_fresh_snapshot(claimed, connect):
    """A take-over that had to wait for a checkpoint sees that checkpoint's memo."""
    stale, other = connect(), connect()
    clock.advance(runtime().ports.lease_seconds + 1)
    stale, other = connect(), connect()
    with stale.transaction():
        assert store.checkpoint(stale, memo_of(claimed)).is_new

        def rescue():
            return other.execute(store_upkeep.RESCUE, {"id": claimed.id, "epoch": claimed.epoch}).fetchone()

        thread, rescued = in_thread(rescue)
        waits_for_a_lock(other)
    thread.join()
    assert rescued[0] is not None
    [(again, _)] = advance.claim_batch("other", 1)
    with runtime().pool.connection() as connection:
        assert set(store.load(connection, again).memos) == {"step"}


def test_what_is_remembered_between_the_claim_and_the_load_is_loaded(claimed):
    """The load has a snapshot of its own: memos that came with the claim would be as old as its statement."""
    again = take_over(claimed)
    with runtime().pool.connection() as connection, runtime().pool.connection() as other:
        assert store.checkpoint(other, memo_of(again)).is_new
        assert set(store.load(connection, again).memos) == {"step"}


def test_a_claim_that_reads_memos_in_its_own_statement_would_miss_one(claimed, connect):
    """Why the load is a statement of its own: the wrong way, shown on this PostgreSQL.

    A claim's statement begins while the run is queued, waits for its lock, and gets a run that was meanwhile claimed,
    advanced by a step and queued again.
    """
    with runtime().pool.connection() as connection, connection.transaction():
        assert store.leave(connection, claimed, "queued", progress=None)
    wrong, worker = connect(), connect()
    waiting = store.CLAIM_THESE.replace("SKIP LOCKED", "")
    in_one = (
        f"WITH taken AS ({waiting}) SELECT taken.epoch, array(SELECT key FROM step WHERE run_id = taken.id) FROM taken"
    )
    with worker.transaction():
        [mine] = store.claim_these(worker, [claimed.id], worker="between", lease=30)
        values = {"worker": "wrong", "lease": 30, "ids": [claimed.id], "admitted": False, "workflows": ["idle"]}
        thread, found = in_thread(lambda: wrong.execute(in_one, values).fetchone())
        waits_for_a_lock(wrong)
        assert store.checkpoint(worker, memo_of(mine)).is_new
        assert store.leave(worker, mine, "queued", progress=None)
    thread.join()
    epoch, keys = found[0]
    assert (epoch, keys) == (mine.epoch + 1, [])  # the run of now with the memos of then
    with runtime().pool.connection() as connection:
        assert set(store.load(connection, mine).memos) == {"step"}


def test_a_checkpoint_waits_for_an_uncommitted_take_over_and_then_is_refused(claimed, connect):
    stale, other = connect(), connect()
    with other.transaction():
        other.execute(store_upkeep.RESCUE, {"id": claimed.id, "epoch": claimed.epoch})
        thread, results = in_thread(lambda: store.checkpoint(stale, memo_of(claimed)))
        waits_for_a_lock(stale)
    thread.join()
    assert not results[0].is_mine
    assert list_steps(claimed.id) == []


def test_a_stale_worker_stops_even_if_the_key_exists(claimed, connect):
    again = take_over(claimed)
    connection = connect()
    assert store.checkpoint(connection, memo_of(again)).is_new
    stored = store.checkpoint(connection, memo_of(claimed, output="2"))
    assert (stored.is_mine, stored.is_new) == (False, False)


def test_a_checkpoint_repeated_in_the_same_epoch_adopts_what_is_stored(claimed, connect):
    connection = connect()
    assert store.checkpoint(connection, memo_of(claimed)).is_new
    stored = store.checkpoint(connection, memo_of(claimed, output="2"))
    assert (stored.is_mine, stored.is_new) == (True, False)


def test_a_stale_workers_result_is_refused_and_its_rows_are_rolled_back(idle):
    from app.accounts.models import User

    @workflow("stale", on="test/stale")
    def stale(ctx, step):
        def write(session):
            session.add(User(email="stale@example.org"))
            session.flush()
            with runtime().pool.connection() as connection:
                connection.execute("UPDATE run SET epoch = epoch + 1 WHERE id = %s", [ctx.run_id])

        step.transaction("write", write)

    send("test/stale", {}, owner_id=None)
    assert drain() == [("stale", "lost")]
    assert db.session.query(User).count() == 0


def test_checkpoints_and_updates_of_the_run_never_deadlock(claimed, connect):
    """A checkpoint's transaction takes the run's lock once and shared; two of them and a renewal all come through."""
    first, second, beat = connect(), connect(), connect()
    with first.transaction(), second.transaction():
        assert store.checkpoint(first, memo_of(claimed, "a")).is_new
        assert store.checkpoint(second, memo_of(claimed, "b")).is_new
        assert store_upkeep.heartbeat(beat, {claimed.id: claimed.epoch}, 30) == set()  # skipped, not waited for
    assert store_upkeep.heartbeat(beat, {claimed.id: claimed.epoch}, 30) == {claimed.id}


def test_a_locked_run_does_not_delay_the_leases_of_the_others(idle, connect):
    for _ in range(3):
        send("test/idle", {}, owner_id=None)
    db.session.commit()
    runs = [run for run, _ in advance.claim_batch("mine", 3)]
    holder, beat = connect(), connect()
    beat.execute("SET lock_timeout = '1s'")
    with holder.transaction():
        assert store.checkpoint(holder, memo_of(runs[1])).is_new
        renewed = store_upkeep.heartbeat(beat, {run.id: run.epoch for run in runs}, 30)
    assert renewed == {runs[0].id, runs[2].id}


def test_a_run_parks_only_if_nothing_woke_it_meanwhile(claimed, connect):
    connection = connect()
    assert store.wake(connection, [claimed.id]) == []  # it is running: only wake_seq moves
    due = datetime.now(UTC)
    assert not store.leave(connection, claimed, "waiting", due_at=due, progress=None)
    claimed.wake_seq += 1
    assert store.leave(connection, claimed, "waiting", due_at=due, progress=None)


def test_a_wake_up_while_the_body_leaves_makes_it_go_round_again():
    """The lost wake-up: what happened between the last look and the park is looked at once more."""
    passes = []

    @workflow("woken", on="test/woken", backoff=(60,))
    def woken(ctx, step):
        passes.append(1)
        if len(passes) == 1:
            with runtime().pool.connection() as connection:
                store.wake(connection, [ctx.run_id])
            raise RuntimeError("leave")
        return "seen"

    send("test/woken", {}, owner_id=None)
    assert drain() == [("woken", "completed")]
    assert len(passes) == 2


def test_a_run_that_goes_round_again_keeps_its_clock_and_what_it_has_said():
    """The second pass reads the database's time anew: with that of the claim, its clock would go back."""
    seen = []

    @workflow("again", on="test/again", backoff=(60,))
    def again(ctx, step):
        seen.append(ctx.execution.now())
        if len(seen) == 1:
            ctx.progress(current_step="first", message="Said in the first pass")
            with runtime().pool.connection() as connection:
                store.wake(connection, [ctx.run_id])
                connection.execute("SELECT set_config('throughline.clock_offset', '1 hour', false)")
            step.run("break", lambda: 1 / 0)

    send("test/again", {}, owner_id=None)
    assert drain() == [("again", "completed")]
    runtime().pool.close()
    assert (seen[1] - seen[0]).total_seconds() > 3500
    [run] = list_runs()
    assert run.progress["message"] == "Said in the first pass"
    assert [error["step"] for error in run.progress["errors"]] == ["break"]


def test_a_finish_counts_only_for_the_owner_of_the_run(claimed):
    take_over(claimed)
    execution = load(claimed, registry.by_name["idle"], claimed_at=0)
    with pytest.raises(LostLease):
        advance._end(execution, advance.Ending("completed"))
    assert list_runs()[0].status == "running"


def test_outside_calls_are_refused_under_a_lost_lease():
    @workflow("late", on="test/late")
    def late(ctx, step):
        def call():
            ctx.execution.lease.is_lost = True
            outside.before_outside_call()
            raise AssertionError("it went out")

        step.run("call", call)

    send("test/late", {}, owner_id=None)
    assert drain() == [("late", "lost")]


def test_outside_calls_are_refused_in_a_transaction_step_and_with_unwritten_events():
    @workflow("careless", on="test/careless", retries=0)
    def careless(ctx, step):
        if ctx.event.data["how"] == "transaction":
            step.transaction("call", lambda _session: outside.before_outside_call())

        def send_first():
            send("test/other", {}, owner_id=None)
            outside.before_outside_call()

        step.run("send", send_first)

    for how in ("transaction", "send"):
        send("test/careless", {"how": how}, owner_id=None)
    drain()
    assert {run.error["class"] for run in list_runs(workflow="careless")} == {"OutsideCallRefused"}


def test_a_new_step_starts_the_count_of_take_overs_anew(claimed, connect):
    connection = connect()
    again = claimed
    for number in range(8):
        connection = connect()
        assert store.checkpoint(connection, memo_of(again, f"step-{number}")).is_new
        again = take_over(again)
    assert get_run(claimed.id).recoveries == 1
