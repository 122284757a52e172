"""The worker's threads and what it watches over: the parts of a process, without one."""

from __future__ import annotations

import dataclasses
import threading

import psycopg
import pytest

from app.db import db
from app.engine import advance, list_runs, process, send, store_upkeep, workflow
from app.engine.execution import load
from app.engine.process import Worker
from app.engine.queue import queue_name
from app.engine.registry import registry
from app.engine.runtime import CONNECTIONS, WORKER_CONNECTIONS, logger, runtime
from app.engine.testing import drain
from app.lib import fetching, hint_worker, rhythm
from app.lib.hint_worker import HintWorker


@pytest.fixture
def idle():
    @workflow("idle", on="test/idle")
    def idle(ctx, step):
        return step.run("step", lambda: 1)


@pytest.fixture
def worker(idle):
    made = Worker("test-worker")
    yield made
    made.pool.shutdown()


def hints_of(worker):
    """What its RQ worker is made of."""
    ports = runtime().ports
    return worker, worker.name, ports.redis_url, queue_name(ports.namespace), logger


def claim_one():
    send("test/idle", {}, owner_id=None)
    db.session.commit()
    [(run, claimed_at)] = advance.claim_batch("mine", 1)
    return run, claimed_at


def test_a_run_that_was_claimed_again_stays_watched_when_its_last_watcher_lets_go(worker):
    """Parked and claimed again by another thread, before the first one had come round to forget it."""
    first, _ = claim_one()
    worker.beat.watch(load(first, registry.by_name["idle"], claimed_at=0))
    advance.give_back(first)
    [(second, _)] = advance.claim_batch("mine", 1)
    worker.beat.watch(load(second, registry.by_name["idle"], claimed_at=0))
    worker.beat.forget(first)
    assert worker.beat.count() == 1
    worker.beat.forget(second)
    assert worker.beat.count() == 0


def test_a_claim_without_a_free_thread_is_given_back_and_blocks_nobody(worker, monkeypatch):
    send("test/idle", {}, owner_id=None)
    db.session.commit()
    claim_batch, release = advance.claim_batch, threading.Event()

    def claim_while_a_hint_takes_the_threads(name, limit):
        claimed = claim_batch(name, limit)
        while worker.submit(release.wait):
            pass
        return claimed

    monkeypatch.setattr(advance, "claim_batch", claim_while_a_hint_takes_the_threads)
    worker.poll()
    assert [run.status for run in list_runs()] == ["queued"]
    release.set()


def test_a_hint_for_a_workflow_of_newer_code_is_left_to_newer_workers(worker):
    send("test/idle", {}, owner_id=None)
    db.session.commit()
    [run] = list_runs()
    del registry.by_name["idle"]
    assert worker.perform(run.id) == "elsewhere"
    db.session.rollback()
    assert list_runs()[0].status == "queued"


def test_a_worker_that_leaves_takes_up_no_more_hints(worker):
    send("test/idle", {}, owner_id=None)
    db.session.commit()
    worker.stop.set()
    assert worker.perform(list_runs()[0].id) == "elsewhere"
    db.session.rollback()
    assert list_runs()[0].status == "queued"


def test_a_worker_whose_redis_was_away_for_a_while_serves_hints_again(worker):
    """Its name is still in Redis, since it could not say good-bye; without hints every run would start a second late."""
    HintWorker(*hints_of(worker)).register_birth()
    worker.stop.set()
    again = HintWorker(*hints_of(worker))
    again.serve()
    assert again.connection.hexists(again.key, "death")


def test_one_hint_that_nobody_understands_does_not_end_the_serving_of_hints(worker, monkeypatch):
    served = []

    def serve(_self):
        served.append(1)
        if len(served) == 1:
            raise KeyError("not made by us")
        worker.stop.set()

    monkeypatch.setattr(HintWorker, "serve", serve)
    monkeypatch.setattr(worker.stop, "wait", lambda _seconds: False)
    hint_worker.serve(*hints_of(worker))
    assert len(served) == 2


def test_what_a_run_says_last_is_written_even_while_the_beat_is_about_to_write_it(worker):
    """The beat has taken the newest state and not written it yet when the run ends: the end writes it."""

    @workflow("says", on="test/says")
    def says(ctx, step):
        ctx.progress(message="The last word")
        assert ctx.execution.progress.take()  # as the beat does, between two statements of the body

    send("test/says", {}, owner_id=None)
    drain()
    assert list_runs()[0].progress["message"] == "The last word"


def test_progress_that_could_not_be_written_is_written_by_the_next_beat(worker, monkeypatch):
    run, _ = claim_one()
    execution = load(run, registry.by_name["idle"], claimed_at=0)
    worker.beat.watch(execution)
    execution.progress.say(message="Keep this")

    def away(*_):
        raise psycopg.OperationalError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(store_upkeep, "show", away)
        with pytest.raises(psycopg.OperationalError):
            worker.beat.show()
    worker.beat.show()
    db.session.rollback()
    assert list_runs()[0].progress["message"] == "Keep this"


@pytest.fixture
def drain_at_once(monkeypatch):
    monkeypatch.setattr(runtime(), "ports", dataclasses.replace(runtime().ports, drain_seconds=0.0))
    monkeypatch.setattr(runtime(), "is_draining", False)  # put back at the end


@pytest.mark.usefixtures("drain_at_once")
def test_a_run_that_no_thread_had_begun_when_the_worker_leaves_is_given_back(worker):
    """Claimed and handed to the threads a moment before SIGTERM: dropped, it would wait for the end of its lease."""
    release = threading.Event()
    for _ in range(worker.threads):
        worker.pool.submit(release.wait)
    send("test/idle", {}, owner_id=None)
    db.session.commit()
    worker._lay_ready(1)
    assert worker._wake_free_threads()
    worker.stop.set()
    process._drain(worker, [])
    release.set()
    worker.pool.shutdown()
    assert [run.status for run in list_runs()] == ["queued"]


@pytest.fixture
def behind_a_long_step(worker):
    """Let one thread claim a batch whose first run takes long; yields a release, with the others claimed behind it.

    Of all threads only `free` are free to take those.
    """
    began, release = threading.Event(), threading.Event()

    @workflow("long", on="test/long")
    def long(ctx, step):
        step.run("long", lambda: began.set() or release.wait(30))

    def start(free):
        for _ in range(worker.threads - 1 - free):
            assert worker.submit(release.wait, 30)
        for name in ("long", "idle", "idle", "idle"):
            send(f"test/{name}", {}, owner_id=None)
        db.session.commit()
        worker._usual_seconds = 0.01
        assert worker.submit(worker.go_on)
        assert began.wait(10)
        return release

    yield start
    release.set()


def by_workflow():
    db.session.rollback()
    return sorted((run.workflow, run.status) for run in list_runs())


def test_no_claimed_run_waits_for_a_long_step_while_another_thread_is_free(worker, behind_a_long_step, monkeypatch):
    ended, last = [], threading.Event()
    forget = worker.beat.forget

    def note(run):
        forget(run)
        ended.append(run.id)
        if len(ended) == 3:
            last.set()

    monkeypatch.setattr(worker.beat, "forget", note)
    behind_a_long_step(free=1)
    assert last.wait(10)
    assert by_workflow() == [("idle", "completed")] * 3 + [("long", "running")]


def test_claimed_runs_that_no_thread_takes_in_half_a_second_are_given_back(worker, behind_a_long_step, monkeypatch):
    behind_a_long_step(free=0)
    assert by_workflow() == [("idle", "running")] * 3 + [("long", "running")]
    monkeypatch.setattr(fetching, "PATIENCE_SECONDS", 60)
    worker.poll()
    assert by_workflow() == [("idle", "running")] * 3 + [("long", "running")]
    monkeypatch.setattr(fetching, "PATIENCE_SECONDS", 0)
    worker.poll()
    assert by_workflow() == [("idle", "queued")] * 3 + [("long", "running")]
    assert worker.beat.count() == 1


def test_the_leases_of_claimed_runs_that_wait_for_a_thread_are_renewed(worker, behind_a_long_step):
    behind_a_long_step(free=0)
    waiting = [owned.lease for _, owned in worker._ready]
    before = [lease.renewed_at for lease in waiting]
    worker.beat.renew()
    assert len(waiting) == 3
    assert all(lease.renewed_at > earlier for lease, earlier in zip(waiting, before, strict=True))


def test_a_claimed_run_that_was_lost_while_it_waited_for_a_thread_is_not_executed(worker):
    ran = []

    @workflow("lost", on="test/lost")
    def lost(ctx, step):
        step.run("step", ran.append, 1)

    send("test/lost", {}, owner_id=None)
    db.session.commit()
    worker._lay_ready(1)
    with runtime().pool.connection() as connection:
        connection.execute("UPDATE run SET epoch = epoch + 1, worker = 'other'")
    worker.beat.look()
    assert worker.go_on() == []
    assert (ran, worker.beat.count()) == ([], 0)


@pytest.mark.parametrize(("usual_seconds", "at_once"), [(0.02, 10), (2.0, 1)])
def test_runs_are_claimed_in_batches_only_while_they_are_short(worker, usual_seconds, at_once, monkeypatch):
    for _ in range(12):
        send("test/idle", {}, owner_id=None)
    db.session.commit()
    monkeypatch.setattr(worker, "submit", lambda *_: None)  # no thread is free
    worker._usual_seconds = usual_seconds
    assert worker._take() is not None
    assert len(worker._ready) == at_once - 1


def test_what_is_claimed_in_the_moment_of_leaving_is_given_back(worker, monkeypatch):
    for _ in range(3):
        send("test/idle", {}, owner_id=None)
    db.session.commit()
    claim_batch = advance.claim_batch

    def claim_and_leave(name, limit):
        claimed = claim_batch(name, limit)
        worker.stop.set()
        return claimed

    monkeypatch.setattr(advance, "claim_batch", claim_and_leave)
    worker._usual_seconds = 0.01
    assert worker.go_on() == []
    assert by_workflow() == [("idle", "queued")] * 3


@pytest.mark.usefixtures("drain_at_once")
def test_a_worker_that_leaves_gives_back_also_what_waited_behind_a_long_step(worker, behind_a_long_step):
    release = behind_a_long_step(free=0)
    worker.stop.set()
    process._drain(worker, [])
    assert by_workflow() == [("idle", "queued")] * 3 + [("long", "queued")]
    release.set()
    worker.pool.shutdown()
    assert by_workflow() == [("idle", "queued")] * 3 + [("long", "queued")]


@pytest.mark.usefixtures("drain_at_once")
def test_a_worker_that_leaves_without_a_database_leaves_all_the_same(worker, monkeypatch):
    run, _ = claim_one()
    execution = load(run, registry.by_name["idle"], claimed_at=0)
    worker.beat.watch(execution)

    def away(*_):
        raise psycopg.OperationalError("gone")

    monkeypatch.setattr(advance, "give_back", away)
    process._drain(worker, [])
    assert execution.lease.is_lost  # the step that is still busy makes no further call outside


def test_the_connections_of_a_process_are_bounded(app):
    """At most 20 in a web process, at most 32 in a worker: SQLAlchemy's and the engine's own."""
    pool = db.engine.pool
    most = pool.size() + pool._max_overflow
    assert most + CONNECTIONS <= 20
    assert most + WORKER_CONNECTIONS <= 32
    own = runtime().pool
    held = [own.connection() for _ in range(CONNECTIONS)]
    for one in held:
        one.__enter__()
    try:
        assert own._permits.empty()
    finally:
        for one in held:
            one.__exit__(None, None, None)


def test_no_lease_is_lost_because_the_progress_of_one_run_cannot_be_written(worker, monkeypatch):
    run, _ = claim_one()
    execution = load(run, registry.by_name["idle"], claimed_at=0)
    worker.beat.watch(execution)
    renewed, stop = threading.Event(), threading.Event()

    def poisoned():
        raise ValueError("never")

    monkeypatch.setattr(execution.progress, "take", poisoned)
    monkeypatch.setattr(worker.beat, "renew", renewed.set)
    beating = threading.Thread(target=worker.beat.loop, args=(stop,))
    beating.start()
    try:
        assert renewed.wait(5)
    finally:
        worker.beat.forget(run)
        stop.set()
        beating.join(5)


@pytest.mark.parametrize(("done", "total"), [(float("nan"), 1.0), (1.0, float("inf")), (float("-inf"), 2)])
def test_progress_that_is_no_number_is_none(worker, done, total):
    @workflow("odd", on="test/odd")
    def odd(ctx, step):
        ctx.progress(current_step="one", done=done, total=total)
        execution = ctx.execution
        worker.beat.watch(execution)
        worker.beat.show()
        worker.beat.forget(execution.run)

    send("test/odd", {}, owner_id=None)
    assert drain() == [("odd", "completed")]


class Ticks:
    """A stop event whose every wait lets a tick pass, without waiting."""

    def __init__(self, seconds):
        self.now, self.end = 0.0, seconds

    def wait(self, seconds):
        self.now = round(self.now + seconds, 3)
        return self.now >= self.end

    is_set = staticmethod(lambda: False)

    def monotonic(self):
        return self.now


def test_leases_are_renewed_every_sixth_of_them_and_requests_looked_for_twice_a_second(worker, monkeypatch):
    """So a request is noticed within a second, and five beats may be missed before a lease is over."""
    ticks, did = Ticks(12.05), []
    monkeypatch.setattr(rhythm, "time", ticks)
    monkeypatch.setattr(runtime(), "ports", dataclasses.replace(runtime().ports, lease_seconds=12.0))
    for name in ("renew", "look", "show"):
        monkeypatch.setattr(worker.beat, name, lambda name=name: did.append(name))
    worker.beat.loop(ticks)
    assert did.count("renew") == 6
    assert 20 <= did.count("look") <= 24
    assert 119 <= did.count("show") <= 120
