"""Hints over RQ between things that know nothing of runs."""

from __future__ import annotations

import logging
import threading

import pytest
import structlog
from rq.job import Job

from app.extensions import redis_client
from app.lib.hint_queue import Hint, HintQueue, connect, note
from app.lib.hint_worker import HintWorker
from app.lib.slots import Slots

done = []
logger = structlog.wrap_logger(logging.getLogger("hints"))


def work(text):
    """What the hints of these tests ask for."""
    note("noted", {"text": text}, logger)
    done.append(text)
    return text


def hint(text):
    return Hint(f"{__name__}.work", (text,), f"job-{text}", f"the job {text}", {"about": text})


@pytest.fixture
def queue(app):
    with redis_client(app.settings) as connection:
        connection.flushdb()
    connection = connect(app.settings.redis_url)
    done.clear()
    yield HintQueue(connection, "hints", logger)
    connection.close()


@pytest.fixture
def worker(app):
    slots = Slots(2, threading.Event(), "test")
    made = HintWorker(slots, "test-hints", app.settings.redis_url, "hints", logger)
    yield made
    slots.pool.shutdown()
    made.connection.close()


def test_hints_are_performed_on_free_threads_until_these_stop(queue, worker, monkeypatch):
    queue.give([hint("a"), hint("b"), hint("c")])
    monkeypatch.setattr(worker.slots, "freed", lambda: worker.slots.stop.set() if len(done) == 3 else None)
    worker.serve()
    assert sorted(done) == ["a", "b", "c"]


def test_what_is_noted_while_a_job_is_performed_is_kept_with_it(queue, worker):
    queue.give([hint("a")])
    worker._take_one()
    worker.slots.is_idle(10)
    [job_id] = worker.queues[0].finished_job_registry.get_job_ids()
    job = Job.fetch(job_id, connection=worker.connection, serializer=worker.serializer)
    assert (job.meta, job.description) == ({"about": "a", "noted": {"text": "a"}}, "the job a")
    note("noted", "outside of jobs this does nothing", logger)


def test_what_failed_without_a_job_shows_as_a_failed_one(queue, worker):
    queue.show_failed(hint("a"), "It is broken.")
    [job_id] = worker.queues[0].failed_job_registry.get_job_ids()
    assert job_id.startswith("job-a-")
    job = Job.fetch(job_id, connection=worker.connection, serializer=worker.serializer)
    assert job.latest_result().exc_string == "It is broken."
    assert done == []


def test_without_a_redis_hints_are_lost_and_nothing_is_raised():
    queue = HintQueue(connect("unix:///tmp/nowhere.sock"), "hints", logger)
    queue.give([hint("a")])
    queue.show_failed(hint("a"), "It is broken.")
