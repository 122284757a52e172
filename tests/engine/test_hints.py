"""Hints over RQ as the dashboard shows them: what failed shows as failed, with or without a job of its own."""

from __future__ import annotations

from uuid import uuid4

import pytest
from rq import Queue
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer

from app import engine
from app.db import db
from app.engine import NonRetriable, advance, process, upkeep, workflow
from app.engine import queue as hints_over_rq
from app.engine.queue import Hints
from app.engine.runtime import logger, runtime
from app.engine.testing import clock
from app.extensions import redis_client
from app.lib import hint_queue
from app.lib.hint_worker import HintWorker


@pytest.fixture
def start(root):
    """Start a run of the administrator's; of "broken" it fails."""

    def measure(name):
        if name == "broken":
            raise NonRetriable("the measure broke")
        return len(name)

    @workflow("demo", on="demo/asked", retries=0)
    def run_demo(ctx, step):
        return step.run("measure", measure, ctx.event.data["name"])

    def begin(name):
        engine.send("demo/asked", {"name": name}, owner_id=root.user.id)
        db.session.commit()
        return engine.list_runs(workflow="demo", limit=1)[0]

    return begin


@pytest.fixture
def worker(app, monkeypatch):
    """The run threads of a worker process, and the RQ worker that hands them hints."""
    made = process.Worker("test-worker")
    monkeypatch.setattr(process, "_worker", made)
    ports = runtime().ports
    queue = hints_over_rq.queue_name(ports.namespace)
    served = HintWorker(made, made.name, ports.redis_url, queue, logger)
    yield served
    made.pool.shutdown()
    served.connection.close()


def shown(root, app, registry):
    name = hints_over_rq.queue_name(app.settings.redis_namespace)
    return root.get(f"/admin/rq/0/data/jobs/{name}/{registry}/200/asc/1.json").json["jobs"]


def perform_next(worker):
    """Take one hint from Redis and perform it, as the worker's loop does."""
    job, queue = Queue.dequeue_any(worker.queues, 1, connection=worker.connection, serializer=JSONSerializer)
    worker.perform_job(job, queue, worker.prepare_execution(job))
    return job


def test_a_run_that_fails_by_its_own_hint_is_one_failed_job(root, app, worker, start):
    run = start("broken")
    perform_next(worker)
    (job,) = shown(root, app, "failed")
    assert job["description"] == f"demo {run.id}"
    detail = root.get(f"/admin/rq/0/data/job/{job['id']}.json").json
    assert f"Run {run.id} failed; its own page says why." in detail["exc_info"]


def test_a_run_that_fails_under_another_ones_hint_is_a_failed_job_too(root, app, worker, start):
    """Its own hint was lost, or comes too late and finds it ended: the dashboard must not say that all went well."""
    broken = start("broken")
    worker.queues[0].empty()
    fine = start("fine")
    job = perform_next(worker)
    (finished,) = shown(root, app, "finished")
    assert finished["description"] == f"demo {fine.id}"
    (failed,) = shown(root, app, "failed")
    assert failed["description"] == f"demo {broken.id}"
    detail = root.get(f"/admin/rq/0/data/job/{failed['id']}.json").json
    assert detail["status"] == "failed"
    assert f"Run {broken.id} failed; its own page says why." in detail["exc_info"]
    job.refresh()
    assert job.meta["others"][0] == f"demo {broken.id}: failed"


def test_a_run_that_fails_with_no_hint_at_all_is_a_failed_job_too(root, app, worker, start):
    broken = start("broken")
    worker.queues[0].empty()
    worker.slots.poll()
    worker.slots.pool.shutdown()
    (failed,) = shown(root, app, "failed")
    assert failed["description"] == f"demo {broken.id}"


def test_a_dead_run_is_a_failed_job_too(root, app, worker, start):
    run = start("fine")
    for _ in range(6):
        assert len(advance.claim_batch("doomed", 1)) == 1
        clock.advance(31)
        upkeep.run_pass()
    assert engine.get_run(run.id).status == "dead"
    (dead,) = shown(root, app, "failed")
    assert dead["description"] == f"demo {run.id}"


def test_the_failed_jobs_of_runs_are_bounded(root, app, monkeypatch):
    monkeypatch.setattr(hint_queue, "MOST_FAILED", 3)
    hints = Hints(app.settings.redis_url, app.settings.redis_namespace)
    for _ in range(6):
        hints.show_failed("demo", str(uuid4()))
    assert len(shown(root, app, "failed")) == 4  # one more, until the next round trip
    for kind in ("job", "results"):
        assert len(hints.connection.keys(f"rq:{kind}:demo-*")) == 4
    hints.connection.close()


def test_without_redis_a_failed_run_is_not_shown_and_nothing_breaks(app):
    hints = Hints("unix:///tmp/nowhere.sock", "none")
    hints.show_failed("demo", str(uuid4()))


def test_a_hint_that_takes_long_is_not_taken_for_abandoned(root, app, worker, start, monkeypatch):
    """RQ moves a job without a heartbeat for 90 seconds to the failed ones, while its run goes on."""
    start("long")
    job, _queue = Queue.dequeue_any(worker.queues, 1, connection=worker.connection, serializer=JSONSerializer)
    execution = worker.prepare_execution(job)
    worker.prepare_job_execution(job)
    started = StartedJobRegistry(queue=worker.queues[0])
    worker.connection.zadd(started.key, {execution.composite_key: 1})  # as if 90 seconds had passed
    monkeypatch.setattr(type(worker), "should_run_maintenance_tasks", True)
    worker._stay_registered()
    assert shown(root, app, "failed") == []
    assert [one["id"] for one in shown(root, app, "started")] == [job.id]


def test_a_worker_registers_again_although_a_job_has_written_to_its_forgotten_row(root, app, worker, start):
    """After FLUSHALL, the end of the job in hand makes the worker's row anew, without the worker being listed."""
    worker.register_birth()
    start("fine")
    job, queue = Queue.dequeue_any(worker.queues, 1, connection=worker.connection, serializer=JSONSerializer)
    execution = worker.prepare_execution(job)
    worker.connection.flushdb()
    worker.perform_job(job, queue, execution)
    assert worker.connection.exists(worker.key)
    worker._stay_registered()
    listed = root.get("/admin/rq/0/data/workers.json").json["workers"]
    assert [found["name"] for found in listed] == [worker.name]


def test_a_worker_registers_again_although_a_job_writes_to_its_row_at_that_moment(worker, monkeypatch):
    """As happens when Redis has forgotten everything under load: the worker must not take itself for another one."""
    exists = worker.connection.exists

    def written_meanwhile(key):
        worker.connection.hset(key, "successful_job_count", 1)
        return exists(key)

    monkeypatch.setattr(worker.connection, "exists", written_meanwhile)
    worker._be_born()
    assert worker.connection.hget(worker.key, "birth")
    assert not worker.connection.hget(worker.key, "death")


def test_a_hint_is_json_without_a_timeout_and_names_its_run(app, start):
    run = start("fine")
    name = hints_over_rq.queue_name(app.settings.redis_namespace)
    with redis_client(app.settings) as connection:
        [job] = Queue(name, connection=connection, serializer=JSONSerializer).jobs
        assert (job.timeout, job.args, job.meta) == (-1, [str(run.id)], {"workflow": "demo", "run_id": str(run.id)})
        assert job.id.startswith(f"demo-{run.id}")


def test_no_hint_is_taken_while_no_thread_is_free(worker, start, monkeypatch):
    """One that were taken would wait here, while other workers are idle."""
    start("fine")
    taken, worker.slots._free = [], 0
    monkeypatch.setattr(worker, "_take_one", lambda: taken.append(1))

    def look(timeout):
        worker.slots.stop.set()
        return type(worker.slots).has_free_slot(worker.slots, 0)

    monkeypatch.setattr(worker.slots, "has_free_slot", look)
    worker.serve()
    assert taken == []
