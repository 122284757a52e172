"""A database that is there and refuses (a deadlock, a lock that is not to be had, a full disk) is not one that is away."""

from __future__ import annotations

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import errors

from app.db import db
from app.engine import (
    advance,
    get_run,
    list_events,
    list_runs,
    send,
    store,
    store_admission,
    store_upkeep,
    upkeep,
    workflow,
)
from app.engine.beat import Beat
from app.engine.execution import Owned, lease_of, load
from app.engine.process import Worker
from app.engine.registry import registry
from app.engine.testing import clock, drain
from app.lib.progress import Progress
from tests.services import run_sql

REFUSALS = [errors.DeadlockDetected, errors.LockNotAvailable, errors.DiskFull]


def wrapped(kind):
    return sa.exc.DBAPIError.instance("SELECT", {}, kind(), psycopg.Error)


@pytest.mark.parametrize("kind", REFUSALS)
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_of_a_step_it_is_a_failure_that_is_tried_again(kind, is_wrapped):
    tries = []

    @workflow("refused", on="test/refused")
    def refused(ctx, step):
        def work():
            tries.append(ctx.attempt)
            if len(tries) == 1:
                raise wrapped(kind) if is_wrapped else kind()
            return "done"

        return step.run("work", work)

    send("test/refused", {}, owner_id=None)
    assert drain(advance=True) == [("refused", "waiting"), ("refused", "completed")]
    assert (tries, list_runs()[0].recoveries) == ([1, 2], 0)


@pytest.mark.parametrize("is_branch", [False, True])
def test_of_a_body_outside_any_step_it_is_a_failure_of_the_body_and_no_loss_of_the_run(is_branch):
    """Taken for a loss, it would leave the run to its lease's end, and for dead after six times."""
    tries = []

    def work():
        tries.append(1)
        if len(tries) < 3:
            raise wrapped(errors.DeadlockDetected)
        return "done"

    @workflow("body", on="test/body", backoff=(1,))
    def body(ctx, step):
        return step.parallel("art", {"cover": lambda _s: work()})["cover"] if is_branch else work()

    send("test/body", {}, owner_id=None)
    assert drain(advance=True) == [("body", "waiting"), ("body", "waiting"), ("body", "completed")]
    assert list_runs()[0].recoveries == 0


def test_a_body_cannot_take_it_for_the_failure_of_a_step_when_the_engine_was_refused(monkeypatch):
    """A try that failed could not be recorded: what became of the step is open until the run is taken over."""
    instead, tries = [], []

    @workflow("lenient", on="test/lenient")
    def lenient(ctx, step):
        try:
            return step.run("optional", lambda: tries.append(1) or 1 / (len(tries) - 1))
        except Exception:  # noqa: BLE001
            instead.append(1)

    def full(*_):
        raise errors.DiskFull

    send("test/lenient", {}, owner_id=None)
    with monkeypatch.context() as patch:
        patch.setattr(store, "record_attempt", full)
        assert drain() == [("lenient", "lost")]
    drain(advance=True)
    assert (list_runs()[0].status, instead) == ("completed", [])


@pytest.fixture
def two():
    @workflow("two", on="test/two")
    def two(ctx, step):
        raise AssertionError

    for _ in range(2):
        send("test/two", {}, owner_id=None)
    db.session.commit()
    return [run for run, _ in advance.claim_batch("mine", 2)]


@pytest.mark.parametrize("kind", REFUSALS)
def test_of_one_run_that_upkeep_looks_after_it_keeps_no_other_from_its_rescue(two, monkeypatch, kind):
    first, second = [run.id for run in two]
    clock.advance(31)
    rescue = upkeep._rescue

    def refuse_the_first(connection, lost):
        if lost.id == first:
            raise kind
        return rescue(connection, lost)

    monkeypatch.setattr(upkeep, "_rescue", refuse_the_first)
    upkeep.run_pass()
    assert [get_run(run_id).status for run_id in (first, second)] == ["running", "queued"]


def test_a_worker_that_cannot_give_a_run_back_gives_back_the_others(two, monkeypatch):
    worker = Worker("mine")
    for run in two:
        owned = Owned(run=run, lease=lease_of(run, run.read_at), progress=Progress(None))
        worker.beat.watch(owned)
        worker._ready.append((run.read_at, owned))
    promote, tries = store_admission.promote, []

    def refuse_once(connection, keys, limit=1):
        tries.append(1)
        if len(tries) == 1:
            raise errors.DeadlockDetected
        return promote(connection, keys, limit)

    monkeypatch.setattr(store_admission, "promote", refuse_once)
    worker.give_back_waiting()
    assert worker.beat.count() == 0
    assert sorted(run.status for run in list_runs()) == ["queued", "running"]


def test_a_worker_outlives_a_claim_that_was_refused(monkeypatch):
    def refused(*_, **__):
        raise errors.DeadlockDetected

    @workflow("idle", on="test/idle")
    def idle(ctx, step):
        pass

    send("test/idle", {}, owner_id=None)
    db.session.commit()
    monkeypatch.setattr(store, "claim_these", refused)
    assert Worker("mine").perform(list_runs()[0].id) == "elsewhere"


def test_a_beat_that_cannot_write_of_one_run_writes_of_the_others_and_of_it_when_there_is_news(monkeypatch):
    @workflow("telling", on="test/telling")
    def telling(ctx, step):
        pass

    for _ in range(2):
        send("test/telling", {}, owner_id=None)
    db.session.commit()
    beat, executions, asked = Beat(None), [], []
    for run, claimed_at in advance.claim_batch("mine", 2):
        executions.append(load(run, registry.by_name["telling"], claimed_at=claimed_at))
        beat.watch(executions[-1])
        executions[-1].progress.say(message="Said.")
    first, second = [execution.run.id for execution in executions]
    show = store_upkeep.show

    def refuse_the_first(connection, run_id, epoch, values):
        asked.append(run_id)
        if run_id == first:
            raise errors.InvalidTextRepresentation
        return show(connection, run_id, epoch, values)

    with monkeypatch.context() as refusing:
        refusing.setattr(store_upkeep, "show", refuse_the_first)
        beat.show()
        beat.show()
    assert asked == [first, second]
    assert [get_run(run_id).progress and get_run(run_id).progress["message"] for run_id in asked] == [None, "Said."]
    executions[0].progress.say(message="News.")
    beat.show()
    db.session.rollback()
    assert get_run(first).progress["message"] == "News."


def test_a_beat_without_a_database_keeps_what_it_was_to_write(monkeypatch):
    @workflow("telling", on="test/telling")
    def telling(ctx, step):
        pass

    send("test/telling", {}, owner_id=None)
    db.session.commit()
    [(run, claimed_at)] = advance.claim_batch("mine", 1)
    beat, execution = Beat(None), load(run, registry.by_name["telling"], claimed_at=claimed_at)
    beat.watch(execution)
    execution.progress.say(message="Said.")

    def away(*_):
        raise psycopg.OperationalError("gone")

    with monkeypatch.context() as gone:
        gone.setattr(store_upkeep, "show", away)
        with pytest.raises(psycopg.OperationalError):
            beat.show()
    beat.show()
    assert get_run(run.id).progress["message"] == "Said."


def test_whoever_sends_on_a_connection_that_dies_hears_so_and_can_roll_back():
    """The engine writes beside SQLAlchemy, which finds out only in the rollback: the answer to a request is made then."""
    send("test/lost", {}, owner_id=None)
    pid = db.session.scalar(sa.text("SELECT pg_backend_pid()"))
    run_sql(f"SELECT pg_terminate_backend({pid}, 5000)")
    with pytest.raises(psycopg.OperationalError):
        db.session.commit()
    db.session.rollback()
    assert db.session.scalar(sa.text("SELECT count(*) FROM event")) == 0
    send("test/found", {}, owner_id=None)
    db.session.commit()
    assert [event.name for event in list_events()] == ["test/found"]
