"""A real worker process works, leaves cleanly, and may be killed at any moment: a remembered effect happens once."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket

import pytest

from app.db import db
from app.engine import cancel, get_run, last_upkeep, list_runs, list_workers, send
from app.engine.testing import sent_events
from app.extensions import redis_client
from tests.crash.processes import wait_until

pytestmark = pytest.mark.crash
EFFECTS = ["four", "one", "three0", "three1", "two"]


def start(name, **data):
    send(name, data, owner_id=None)
    db.session.commit()


def steps_of(effects):
    return sorted(effect["step"] for effect in effects())


def test_a_worker_runs_what_is_sent_and_leaves_cleanly(start_worker, effects, statuses):
    worker = start_worker()
    start("crash/five")
    wait_until(lambda: statuses("five-steps").get("completed") == 1)
    assert steps_of(effects) == EFFECTS
    assert len(sent_events("crash/done")) == 1
    wait_until(list_workers)  # its first heartbeat may come after its first run
    assert [(found.kind, found.is_alive) for found in list_workers()] == [("worker", True)]
    wait_until(last_upkeep)
    assert worker.stop() == 0


def test_sigterm_parks_at_the_next_step_and_gives_the_lease_back(start_worker, effects, statuses):
    first = start_worker(lease=60)
    start("crash/slow", seconds=1.0)
    wait_until(lambda: len(effects()) == 1)
    assert first.stop() == 0
    assert statuses("slow") == {"queued": 1}
    start_worker(lease=60)
    wait_until(lambda: statuses("slow").get("completed") == 1)
    assert steps_of(effects) == ["part-0", "part-1", "part-2"]
    assert list_runs(workflow="slow")[0].recoveries == 0


def test_a_step_that_does_not_end_is_cut_off_and_its_run_given_back(start_worker, effects, statuses, monkeypatch):
    monkeypatch.setenv("TEST_DRAIN", "1")
    worker = start_worker(lease=60)
    start("crash/slow", seconds=60)
    wait_until(effects)
    assert worker.stop(timeout=15) == 0
    assert statuses("slow") == {"queued": 1}


def test_redis_flushed_in_mid_run_loses_no_work_and_the_worker_registers_again(
    settings, start_worker, effects, statuses
):
    worker = start_worker()
    start("crash/slow", seconds=0.3)
    wait_until(effects)
    with redis_client(settings) as redis:
        redis.flushdb()
        start("crash/five")
        wait_until(lambda: statuses().get("completed") == 2)
        redis.flushdb()
        wait_until(lambda: redis.smembers("rq:workers"), 30)  # it looks every ten seconds
    assert worker.stop() == 0


@pytest.mark.parametrize("kind", ["absent", "hung"])
def test_a_worker_without_redis_works_straight_from_postgresql(settings, start_worker, statuses, kind):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1] if kind == "hung" else 1
        start_worker(settings=dataclasses.replace(settings, redis_url=f"redis://127.0.0.1:{port}/0"))
        start("crash/five")
        wait_until(lambda: statuses("five-steps").get("completed") == 1)


def test_cancelling_a_running_run_is_noticed_within_a_second_and_keeps_the_step_in_flight(
    start_worker, effects, statuses
):
    start_worker()
    start("crash/slow", seconds=1.5)
    wait_until(effects)
    run = list_runs(workflow="slow")[0]
    assert cancel(run.id, "enough")
    db.session.commit()
    wait_until(lambda: statuses("slow").get("cancelled") == 1, 4)
    db.session.rollback()
    found = get_run(run.id)
    assert (found.status, found.reason) == ("cancelled", "enough")
    assert steps_of(effects) == ["part-0"]


def test_limits_hold_over_several_workers_and_a_kill(start_worker, effects, statuses):
    workers = [start_worker() for _ in range(2)]
    for _ in range(8):
        send("crash/limited", {"key": "same", "seconds": 0.4}, owner_id=None)
    db.session.commit()
    wait_until(lambda: len(effects()) >= 3)
    workers[0].kill()
    wait_until(lambda: statuses("crash-limited").get("completed") == 8, 40)
    done = [effect for effect in effects() if effect["until"]]
    assert len({effect["run"] for effect in done}) == 8  # one may be done twice: killed between its end and its memo
    held = [(effect["at"], effect["until"]) for effect in done]
    assert max(sum(at <= moment < until for at, until in held) for moment, _ in held) == 2


def test_a_failed_run_shows_as_a_failed_job_named_after_it(settings, start_worker, statuses, root):
    from rq import Queue
    from rq.job import Job
    from rq.serializers import JSONSerializer

    start_worker()
    start("crash/fails")
    wait_until(lambda: statuses("crash-fails").get("failed") == 1)
    run = list_runs(workflow="crash-fails")[0]
    with redis_client(settings) as redis:
        queue = Queue(f"{settings.redis_namespace}-runs", connection=redis, serializer=JSONSerializer)
        wait_until(queue.failed_job_registry.get_job_ids)
        job = Job.fetch(queue.failed_job_registry.get_job_ids()[0], connection=redis, serializer=JSONSerializer)
    assert job.description == f"crash-fails {run.id}"
    assert job.id.startswith(f"crash-fails-{run.id}")
    shown = root.get(f"/admin/rq/0/data/jobs/{queue.name}/failed/8/asc/1.json").json["jobs"]
    assert [item["description"] for item in shown] == [f"crash-fails {run.id}"]
    why = root.get(f"/admin/rq/0/data/job/{job.id}.json").json
    assert f"Run {run.id} failed; its own page says why." in str(why)
    assert "ZeroDivisionError" not in str(why)  # what broke is the owner's to read
    queues = root.get("/admin/rq/0/data/queues.json").json["queues"]
    assert [found["failed_job_registry_count"] for found in queues if found["name"] == queue.name] == [1]


def test_a_stray_signal_to_the_group_leaves_no_process_behind(start_worker):
    worker = start_worker()
    wait_until(list_workers)
    worker.signal(signal.SIGINT)
    assert worker.process.wait(20) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(worker.pid, 0)
