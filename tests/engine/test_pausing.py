"""Pausing and resuming a run."""

from __future__ import annotations

import queue
import threading

import pytest

from app.db import db
from app.engine import (
    CancelOn,
    Concurrency,
    NonRetriable,
    RetryAfter,
    advance,
    cancel,
    get_run,
    list_runs,
    list_steps,
    list_waits,
    pause,
    resume,
    send,
    store,
    upkeep,
    workflow,
)
from app.engine.process import Worker
from app.engine.runtime import runtime
from app.engine.testing import assert_sent, clock, drain, sent_events
from app.lib.ids import new_id


@pytest.fixture
def calls():
    return []


@pytest.fixture
def plain(calls):
    @workflow("plain", on="test/plain")
    def plain(ctx, step):
        def first():
            calls.append("first")
            what = ctx.event.data.get("do")
            if what is not None:
                with runtime().ports.app_context():
                    {"pause": pause, "resume": resume, "cancel": cancel}[what](ctx.run_id)
                    db.session.commit()
            return "kept"

        step.run("first", first)
        step.run("second", calls.append, "second")
        return "done"


@pytest.fixture
def patient(calls):
    @workflow("patient", on="test/patient")
    def patient(ctx, step):
        def later():
            calls.append("later")
            if calls.count("later") == 1:
                raise RetryAfter(3600)

        step.run("later", later)


def start(name="test/plain", count=1, **data):
    for _ in range(count):
        send(name, data, owner_id=None)
    db.session.commit()
    return list_runs()[0].id


def do(what, run_id):
    answer = what(run_id)
    db.session.commit()
    return answer


def set_run(execute, run_id, **columns):
    wanted = ", ".join(f"{name} = {value}" for name, value in columns.items())
    execute(f"UPDATE run SET {wanted} WHERE id = :id", id=run_id)


def test_a_queued_run_is_paused_at_once_and_goes_on_when_it_is_resumed(plain, calls):
    run_id = start()
    assert do(pause, run_id)
    assert not do(pause, run_id)
    assert drain() == []
    assert get_run(run_id).status == "paused"
    assert do(resume, run_id)
    assert not do(resume, run_id)
    assert drain() == [("plain", "completed")]
    assert calls == ["first", "second"]


def test_a_waiting_run_that_is_resumed_looks_for_itself_whether_it_is_due(patient, calls):
    run_id = start("test/patient")
    drain()
    assert do(pause, run_id)
    clock.advance(60)
    assert drain() == []
    do(resume, run_id)
    assert drain() == [("patient", "waiting")]
    assert calls == ["later"]
    do(pause, run_id)
    clock.advance(7200)
    assert drain() == []
    do(resume, run_id)
    assert drain() == [("patient", "completed")]


def test_a_running_run_keeps_the_result_of_its_step_and_pauses_at_the_next_one(plain, calls):
    run_id = start(do="pause")
    assert drain() == [("plain", "paused")]
    run = get_run(run_id)
    assert (run.status, run.requested, run.worker) == ("paused", None, None)
    assert [(step.key, step.output) for step in list_steps(run_id)] == [("first", "kept")]
    do(resume, run_id)
    assert drain() == [("plain", "completed")]
    assert calls == ["first", "second"]
    assert not sent_events("run/cancelled")


def test_a_run_whose_last_step_was_in_flight_completes_all_the_same():
    @workflow("last", on="test/last")
    def last(ctx, step):
        def only():
            with runtime().ports.app_context():
                pause(ctx.run_id)
                db.session.commit()

        step.run("only", only)
        return "done"

    run_id = start("test/last")
    assert drain() == [("last", "completed")]
    assert get_run(run_id).output == "done"


def test_a_run_that_is_to_pause_does_not_park_but_pauses():
    @workflow("retried", on="test/retried", backoff=(60,))
    def retried(ctx, step):
        def work():
            with runtime().ports.app_context():
                pause(ctx.run_id)
                db.session.commit()
            raise OSError

        step.run("work", work)

    run_id = start("test/retried")
    assert drain() == [("retried", "paused")]
    assert len(list_steps(run_id)[0].attempts) == 1


def test_a_request_to_pause_is_withdrawn_by_resuming(plain):
    run_id = start()
    [(run, claimed_at)] = advance.claim_batch("mine", 1)
    assert do(pause, run_id)
    assert get_run(run_id).requested == "pause"
    assert do(resume, run_id)
    assert get_run(run_id).requested is None
    assert advance.advance(run, claimed_at) == "completed"


def test_a_request_that_is_withdrawn_just_before_the_run_is_left_lets_it_go_on(plain, calls, monkeypatch):
    run_id = start(do="pause")
    leave = advance._leave

    def resume_first(execution, leaving):
        with runtime().ports.app_context():
            assert do(resume, run_id)
        return leave(execution, leaving)

    monkeypatch.setattr(advance, "_leave", resume_first)
    assert drain() == [("plain", "completed")]
    assert calls == ["first", "second"]


def test_a_cancellation_overrides_a_request_to_pause_and_not_the_other_way_round(plain, calls):
    run_id = start()
    [(run, claimed_at)] = advance.claim_batch("mine", 1)
    do(pause, run_id)
    do(cancel, run_id)
    assert not do(pause, run_id)
    assert get_run(run_id).requested == "cancel"
    assert not do(resume, run_id)
    assert advance.advance(run, claimed_at) == "cancelled"
    assert calls == ["first"]


def test_a_request_outlives_the_worker_that_should_have_acted_on_it(plain):
    run_id = start()
    advance.claim_batch("doomed", 1)
    do(pause, run_id)
    clock.advance(31)
    assert drain() == [("plain", "paused")]


def test_a_request_to_pause_is_noticed_between_steps_within_a_second():
    """The heartbeat looks twice a second; here it looks when the body waits for it."""
    entered, go_on = threading.Event(), threading.Event()

    @workflow("slow", on="test/slow")
    def slow(ctx, step):
        entered.set()
        assert go_on.wait(10)
        step.run("never", lambda: 1 / 0)

    run_id = start("test/slow")
    worker = Worker("test-worker")
    answers = queue.Queue()
    thread = threading.Thread(target=lambda: answers.put(worker.perform(run_id)))
    thread.start()
    assert entered.wait(10)
    do(pause, run_id)
    worker.beat.look()
    go_on.set()
    assert answers.get(timeout=10) == "paused"
    thread.join()
    worker.pool.shutdown()
    assert list_steps(run_id) == []


def test_a_paused_run_can_be_cancelled(plain):
    run_id = start()
    do(pause, run_id)
    assert do(cancel, run_id)
    assert get_run(run_id).status == "cancelled"
    assert_sent("run/cancelled", run_id=str(run_id))
    assert not do(resume, run_id)
    assert not do(pause, run_id)
    assert not do(pause, new_id())
    assert not do(resume, new_id())


def test_a_debounced_run_can_be_cancelled_and_paused_and_still_starts_at_its_time(plain, execute):
    run_id, other = start(), start()
    for each in (run_id, other):
        set_run(
            execute, each, status="'debounced'", due_at="engine_now() + interval '1 hour'", debounce_key=f"'{each}'"
        )
    assert do(cancel, other)
    assert do(pause, run_id)
    do(resume, run_id)
    assert get_run(run_id).status == "waiting"
    assert drain() == []
    clock.advance(3601)
    assert drain() == [("plain", "completed")]


def test_a_debounced_run_that_was_paused_past_its_time_starts_at_once(plain, execute):
    run_id = start()
    set_run(execute, run_id, status="'debounced'", due_at="engine_now() + interval '1 hour'")
    do(pause, run_id)
    clock.advance(3601)
    assert drain() == []
    do(resume, run_id)
    assert get_run(run_id).status == "queued"
    assert drain() == [("plain", "completed")]


def test_a_wake_does_not_touch_a_paused_run_and_what_it_stands_for_is_found_after_resuming(patient, calls, execute):
    run_id = start("test/patient")
    drain()
    do(pause, run_id)
    with runtime().pool.connection() as connection:
        assert store.wake(connection, [run_id]) == []
    assert get_run(run_id).status == "paused"
    execute(  # whoever takes an event for its wait writes the memo
        """INSERT INTO step (run_id, key, kind, status, position, output, started_at, finished_at)
        VALUES (:id, 'later', 'run', 'completed', '{1}', 'null', now(), now())""",
        id=run_id,
    )
    do(resume, run_id)
    assert drain() == [("patient", "completed")]
    assert calls == ["later"]


def test_pausing_a_run_whose_turn_it_was_gives_its_turn_to_the_next():
    @workflow("limited", on="test/limited", concurrency=[Concurrency(1)])
    def limited(ctx, step):
        pass

    start("test/limited", 3)
    first, second, third = list_runs()[::-1]
    [(run, claimed_at)] = advance.claim_batch("mine", 1)
    advance.claim_batch("mine", 1)  # sets the others aside
    advance.advance(run, claimed_at)
    assert (run.id, get_run(second.id).held_by) == (first.id, None)
    do(pause, second.id)
    assert [found.id for found, _ in advance.claim_batch("mine", 2)] == [third.id]


def test_a_held_run_can_be_paused():
    @workflow("limited", on="test/limited", concurrency=[Concurrency(1)])
    def limited(ctx, step):
        pass

    start("test/limited", 2)
    advance.claim_batch("mine", 1)
    advance.claim_batch("mine", 1)
    held = next(run for run in list_runs() if run.held_by)
    do(pause, held.id)
    assert (get_run(held.id).status, get_run(held.id).held_by) == ("paused", None)


def test_a_dead_run_is_kept_with_what_was_seen_until_resumed(plain, calls):
    run_id = start()
    for _ in range(6):
        assert advance.claim_batch("doomed", 1)
        clock.advance(31)
        upkeep.run_pass()
    db.session.rollback()
    assert get_run(run_id).status == "dead"
    assert "lost 6 times" in get_run(run_id).reason
    assert do(resume, run_id)
    run = get_run(run_id)
    assert (run.status, run.recoveries, run.error, run.reason, run.finished_at) == ("queued", 0, None, None, None)
    advance.claim_batch("doomed", 1)
    clock.advance(31)
    assert drain() == [("plain", "completed")]  # one more take-over is not the seventh


def test_a_run_that_ended_otherwise_is_not_resumed():
    @workflow("broken", on="test/broken")
    def broken(ctx, step):
        raise NonRetriable

    run_id = start("test/broken")
    drain()
    assert not do(resume, run_id)
    assert get_run(run_id).status == "failed"


def test_an_event_that_a_paused_run_waits_for_is_taken_and_found_after_resuming():
    @workflow("waits", on="test/waits")
    def waits(ctx, step):
        found = step.wait_for_event("approval", "test/approved", timeout="3d")
        return found.data["by"] if found else None

    run_id = start("test/waits")
    drain()
    do(pause, run_id)
    start("test/approved", by="alice")
    assert drain() == []
    assert [wait.status for wait in list_waits(run_id)] == ["matched"]
    clock.advance(4 * 86_400)
    do(resume, run_id)
    assert drain() == [("waits", "completed")]
    assert get_run(run_id).output == "alice"


def test_a_sleep_goes_on_while_its_run_is_paused():
    @workflow("sleeps", on="test/sleeps")
    def sleeps(ctx, step):
        step.sleep("nap", "1h")

    run_id = start("test/sleeps")
    drain()
    do(pause, run_id)
    clock.advance(3601)
    do(resume, run_id)
    assert drain() == [("sleeps", "completed")]


def dies(run_id):
    for _ in range(6):
        assert advance.claim_batch("doomed", 1)
        clock.advance(31)
        upkeep.run_pass()
    db.session.rollback()
    assert get_run(run_id).status == "dead"


def test_a_dead_run_that_goes_on_takes_no_event_again_and_is_still_cancelled_by_others():
    @workflow("twice", on="test/twice", cancel_on=[CancelOn("a/stop")])
    def twice(ctx, step):
        step.wait_for_event("one", "a/b", timeout="3d")
        step.sleep("between", "1m")
        step.wait_for_event("two", "a/b", timeout="3d")

    run_id = start("test/twice")
    drain()
    send("a/b", {}, owner_id=None)
    db.session.commit()
    drain()
    clock.advance(61)
    upkeep.run_pass()
    dies(run_id)
    assert do(resume, run_id)
    drain()
    assert get_run(run_id).status == "waiting"
    send("a/stop", {}, owner_id=None)
    db.session.commit()
    assert get_run(run_id).status == "cancelled"
