"""What ended long ago goes, with all that it had; what has not ended stays, with all that it needs."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from app.db import db
from app.engine import (
    Concurrency,
    NonRetriable,
    RetryAfter,
    advance,
    get_event,
    get_run,
    list_runs,
    list_steps,
    pause,
    rerun_from,
    resume,
    retention,
    send,
    upkeep,
    workflow,
)
from app.engine.runtime import runtime
from app.engine.testing import clock, drain
from app.lib.ids import new_id

DAY = 86_400
TABLES = ("run", "step", "step_attempt", "wait", "stream", "log", "blob")


@pytest.fixture
def big():
    @workflow("big", on="test/big", retries=1, backoff=(1,))
    def big(ctx, step):
        step.run("once", lambda: 1 / (ctx.attempt - 1))
        return len(step.run("blob", lambda: "x" * 300_000))


@pytest.fixture
def kept_for():
    """Change `Ports.retention` of this process."""
    before = runtime().ports

    def change(kept):
        runtime().ports = replace(before, retention=kept)

    yield change
    runtime().ports = before


def start(name="test/big", **data):
    send(name, data, owner_id=None)
    drain(advance=True)
    return list_runs()[0]


def sweep():
    upkeep.run_pass()
    db.session.rollback()


def counts(execute):
    return [execute(f"SELECT count(*) FROM {table}").scalar() for table in TABLES]


def add_rest(execute, run_id):
    """Add what a run may have besides: a wait, a stream, a line of its log."""
    execute(
        """INSERT INTO wait (run_id, key, topic, kind, since, created_at, status)
        VALUES (:id, 'w', '\\:test/x', 'event', now(), now(), 'closed')""",
        id=run_id,
    )
    execute(
        "INSERT INTO stream (run_id, name, seq, attempt, text, written_at) VALUES (:id, 's', 1, 1, '', now())",
        id=run_id,
    )
    execute("INSERT INTO log (run_id, id, level, message, logged_at) VALUES (:id, :id, 'info', '', now())", id=run_id)


def test_terminal_runs_older_than_the_cut_off_go_with_everything_they_had(big, execute):
    run = start()
    add_rest(execute, run.id)
    assert counts(execute) == [1, 2, 1, 1, 1, 1, 1]
    clock.advance(89 * DAY)
    sweep()
    assert counts(execute) == [1, 2, 1, 1, 1, 1, 1]
    clock.advance(2 * DAY)
    sweep()
    assert counts(execute) == [0] * 7
    assert get_event(run.event_id) is not None  # it goes with the next pass
    sweep()
    assert get_event(run.event_id) is None


def test_pending_runs_never_go(execute):
    @workflow("patient", on="test/patient")
    def patient(ctx, step):
        def later():
            raise RetryAfter(3600)

        step.run("later", later)

    send("test/patient", {}, owner_id=None)
    send("test/patient", {}, owner_id=None)
    drain()
    waiting, paused = list_runs()
    pause(paused.id)
    clock.advance(400 * DAY)
    for _ in range(3):
        sweep()
    assert {run.id for run in list_runs()} == {waiting.id, paused.id}
    assert get_event(waiting.event_id) is not None


def test_none_keeps_for_ever_and_another_time_is_taken(big, kept_for):
    start()
    kept_for(None)
    clock.advance(1000 * DAY)
    sweep()
    assert len(list_runs()) == 1
    kept_for(timedelta(days=1001))
    sweep()
    assert len(list_runs()) == 1
    kept_for(timedelta(days=999))
    sweep()
    assert list_runs() == []


def test_they_go_in_batches_one_a_pass(big, monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 2)
    for _ in range(3):
        start()
    clock.advance(91 * DAY)
    sweep()
    assert len(list_runs()) == 1
    sweep()
    assert list_runs() == []


def test_two_passes_at_once_delete_everything_once(big, monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 3)
    for _ in range(6):
        start()
    clock.advance(91 * DAY)
    together, deleted = threading.Barrier(2), []

    def race():
        connection = runtime().pool._open()
        together.wait()
        deleted.append(retention.sweep(connection))
        connection.close()

    threads = [threading.Thread(target=race) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    db.session.rollback()
    assert sum(deleted) == 6 - len(list_runs()) <= 6


def test_a_pass_waits_for_nobody_who_holds_a_run(big):
    first, second = start(), start()
    clock.advance(91 * DAY)
    holder = runtime().pool._open()
    with holder.transaction(force_rollback=True):
        holder.execute("SELECT FROM run WHERE id = %s FOR UPDATE", [first.id])
        sweep()
        assert [run.id for run in list_runs()] == [first.id]
    holder.close()
    assert second.id != first.id


def test_a_rerun_keeps_the_results_that_it_copied_when_the_first_run_goes(big):
    run = start()
    clock.advance(60 * DAY)
    again = rerun_from(run.id, "blob")
    drain()
    third = rerun_from(again, "once")
    drain()
    last = rerun_from(again, "once")
    db.session.commit()
    clock.advance(31 * DAY)
    sweep()
    assert get_run(run.id) is None
    assert get_run(again).status == "completed"
    assert [len(step.output) for step in list_steps(again) if step.key == "blob"] == [300_000]
    drain(advance=True)
    assert get_run(last).output == get_run(third).output == 300_000


def test_an_invoked_run_stays_while_its_parent_may_still_ask_for_its_result(big, execute):
    above, child = start(), start()
    execute("UPDATE run SET parent_run = :above, parent_step = 's' WHERE id = :child", above=above.id, child=child.id)
    execute("UPDATE run SET status = 'paused', finished_at = NULL WHERE id = :above", above=above.id)
    clock.advance(91 * DAY)
    sweep()
    assert get_run(child.id) is not None
    execute("UPDATE run SET status = 'cancelled', finished_at = engine_now() WHERE id = :above", above=above.id)
    sweep()
    assert get_run(child.id) is None


def test_an_event_stays_while_an_open_wait_may_take_it(execute):
    send("test/lonely", {}, owner_id=None)
    send("test/lonelier", {}, owner_id=None)
    db.session.commit()
    execute(
        """INSERT INTO wait (run_id, key, topic, kind, since, created_at)
        VALUES (:id, 'w', '\\:test/lonely', 'event', now() - interval '1 hour', now())""",
        id=new_id(),
    )
    clock.advance(91 * DAY)
    sweep()
    assert execute("SELECT name FROM event").scalars().all() == ["test/lonely"]
    execute("UPDATE wait SET status = 'timed-out'")
    sweep()
    assert execute("SELECT count(*) FROM event").scalar() == 0


def test_a_hook_whose_run_is_gone_cleans_up_after_nothing(execute):
    """Its own run is younger: it may outlive the other by a little."""
    seen = []

    @workflow("doomed", on="test/doomed", retries=0, on_failure=lambda *_: seen.append(1))
    def doomed(ctx, step):
        raise NonRetriable

    send("test/doomed", {}, owner_id=None)
    db.session.commit()
    advance.advance(*advance.claim_batch("mine", 1)[0])
    execute("DELETE FROM run WHERE workflow = 'doomed'")
    drain()
    assert (list_runs()[0].status, seen) == ("completed", [])


@pytest.fixture
def flows_are_due(monkeypatch):
    monkeypatch.setattr(retention, "_flows_at", 0.0)


def test_keys_that_nobody_uses_go_and_are_made_again_when_they_are_wanted(flows_are_due, execute):
    @workflow("keyed", on="test/keyed", concurrency=[Concurrency(1, key="event.data.key")])
    def keyed(ctx, step):
        def later():
            if ctx.event.data["key"] == "parked" and ctx.attempt < 3:
                raise OSError

        step.run("later", later)

    for key in ("done", "parked"):
        send("test/keyed", {"key": key}, owner_id=None)
    drain()
    send("test/keyed", {"key": "queued"}, owner_id=None)
    db.session.commit()
    execute("INSERT INTO flow (key, arrival_at) VALUES ('keyed#1:', engine_now() + interval '1 hour')")
    with runtime().pool.connection() as connection:
        retention._flows_at = 0.0
        retention.sweep(connection)
    assert set(execute("SELECT key FROM flow").scalars()) == {"keyed#0:queued", "keyed#1:"}
    drain(advance=True)
    assert {run.status for run in list_runs()} == {"completed"}
    assert "keyed#0:parked" in execute("SELECT key FROM flow").scalars().all()


def test_the_limit_holds_when_its_key_was_deleted_meanwhile(execute):
    @workflow("keyed", on="test/keyed", concurrency=[Concurrency(1)])
    def keyed(ctx, step):
        pass

    for _ in range(3):
        send("test/keyed", {}, owner_id=None)
    db.session.commit()
    execute("DELETE FROM flow")
    assert len(advance.claim_batch("mine", 3)) == 1
    assert advance.claim_batch("mine", 3) == []


def test_an_event_stays_while_a_run_that_has_not_ended_may_ask_for_it(execute):
    """Its wait was ended by the event and the run was paused before it came to know."""

    @workflow("asks", on="test/asks")
    def asks(ctx, step):
        found = step.wait_for_event("answer", "test/answer", timeout="2h")
        return None if found is None else found.data["text"]

    send("test/asks", {}, owner_id=None)
    drain()
    [run] = list_runs()
    send("test/answer", {"text": "yes"}, owner_id=None)
    db.session.commit()
    pause(run.id)
    db.session.commit()
    assert execute("SELECT status FROM wait").scalars().all() == ["matched"]
    clock.advance(91 * DAY)
    for _ in range(3):
        sweep()
    resume(run.id)
    drain()
    assert get_run(run.id).output == "yes"
    clock.advance(91 * DAY)
    for _ in range(3):
        sweep()
    assert execute("SELECT count(*) FROM event").scalar() == 0


def test_a_pass_reads_a_batch_of_old_events_and_the_next_one_goes_on_behind_it(monkeypatch, execute):
    """All that must be kept would else be read again by each pass."""
    monkeypatch.setattr(retention, "BATCH", 2)

    @workflow("patient", on="test/patient")
    def patient(ctx, step):
        step.sleep("long", "365d")

    for name in ("patient", "gone", "patient", "patient", "gone", "gone", "patient", "gone"):
        send(f"test/{name}", {}, owner_id=None)
    drain()
    clock.advance(91 * DAY)
    left = []
    for _ in range(6):
        sweep()
        left.append(execute("SELECT count(*) FROM event WHERE name = 'test/gone'").scalar())
    assert left == [3, 3, 1, 0, 0, 0]
    execute("UPDATE run SET status = 'completed', finished_at = created_at, due_at = NULL")
    for _ in range(7):
        sweep()
    assert execute("SELECT count(*) FROM event").scalar() == 0


def test_keys_that_nobody_uses_go_in_batches_one_a_pass_until_there_is_none(flows_are_due, monkeypatch, execute):
    monkeypatch.setattr(retention, "BATCH", 2)
    execute("INSERT INTO flow (key) SELECT 'video#0:' || n FROM generate_series(1, 5) AS n")
    left = []
    for _ in range(3):
        sweep()
        left.append(execute("SELECT count(*) FROM flow").scalar())
    assert left == [3, 1, 0]
    execute("INSERT INTO flow (key) VALUES ('video#0:6')")
    sweep()
    assert execute("SELECT count(*) FROM flow").scalar() == 1  # all keys are looked at once an hour
