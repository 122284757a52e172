"""Isolated runs have processes of their own, which limits, timeouts, cancellations and stops end for certain."""

from __future__ import annotations

import importlib
import os
import signal

import psutil
import pytest

from app.db import db
from app.engine import cancel, get_run, list_runs, list_steps, list_workers, send
from tests.crash import isolated_jobs
from tests.crash.processes import wait_until

pytestmark = pytest.mark.crash
LONG = 60  # seconds of a lease that no test waits for


@pytest.fixture
def start_worker(start_worker, monkeypatch):
    """Start a worker with the isolated workflows, and the process of these beside it."""
    importlib.reload(isolated_jobs)
    monkeypatch.setenv("TEST_WORKFLOWS", "tests.crash.isolated_jobs")
    return start_worker


def start(name, **data):
    send(name, data, owner_id=None)
    db.session.commit()


def is_there(pid):
    """Tell whether the process is alive: not gone, and no zombie either."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def only_run(workflow):
    db.session.rollback()
    return list_runs(workflow=workflow)[0]


def test_an_isolated_run_has_a_process_of_its_own_and_the_others_go_on_in_threads(start_worker, effects, statuses):
    worker = start_worker()
    for _ in range(3):
        start("alone/five")
    start("crash/five")
    wait_until(lambda: statuses() == {"completed": 4})
    runs = {str(run.id) for run in list_runs(workflow="alone")}
    pids = {run: {effect["pid"] for effect in effects(run=run)} for run in runs}
    assert all(len(found) == 1 for found in pids.values())  # one claim, one process
    assert len(set().union(*pids.values())) == 3
    assert worker.pid not in set().union(*pids.values())
    assert {effect["pid"] for effect in effects() if effect["run"] not in runs} == {worker.pid}
    wait_until(lambda: len(list_workers()) == 2)
    assert {found.kind: found.threads for found in list_workers()} == {"worker": 16, "isolated": 2}
    assert worker.stop() == 0


def test_isolated_runs_may_have_workers_of_their_own(start_worker, effects, statuses, monkeypatch):
    monkeypatch.setenv("ISOLATED_PROCESSES", "0")
    threads = start_worker()
    start("alone/five")
    start("crash/five")
    wait_until(lambda: statuses("five-steps") == {"completed": 1})
    assert psutil.Process(threads.pid).children() == []
    assert statuses("alone") == {"queued": 1}
    monkeypatch.setenv("TEST_ISOLATED", "yes")
    alone = start_worker()
    wait_until(lambda: statuses("alone") == {"completed": 1})
    assert alone.stop() == threads.stop() == 0


def test_a_killed_child_is_known_at_once_and_what_was_seen_is_kept(start_worker, effects, statuses):
    start_worker(lease=LONG)
    start("alone/once")
    wait_until(lambda: effects(step="hang"))
    wait_until(lambda: [step.status for step in list_steps(only_run("alone-once").id)] == ["completed", "running"])
    os.kill(effects(step="hang")[0]["pid"], signal.SIGKILL)
    wait_until(lambda: statuses("alone-once") == {"completed": 1}, 30)  # not after the lease of a minute
    run = only_run("alone-once")
    first, hang = list_steps(run.id)
    assert (first.attempts, run.recoveries) == ([], 1)
    assert [attempt["error"]["code"] for attempt in hang.attempts] == ["process_lost"]
    assert "SIGKILL" in hang.attempts[0]["error"]["message"]
    assert len(effects(step="first")) == 1


def test_a_step_that_times_out_is_really_killed_and_the_run_goes_on(start_worker, effects, statuses):
    start_worker(lease=LONG)
    start("alone/timed")
    wait_until(lambda: statuses("alone-timed") == {"completed": 1})
    (hung,), (went_on,) = effects(step="hang"), effects(step="next")
    assert only_run("alone-timed").output == "timeout"
    wait_until(lambda: not is_there(hung["pid"]))
    assert went_on["pid"] != hung["pid"]


def test_too_much_memory_fails_the_step_and_nothing_else(start_worker, statuses):
    start_worker(lease=LONG)
    start("alone/greedy")
    wait_until(lambda: statuses("alone-greedy") == {"failed": 1}, 60)
    run = only_run("alone-greedy")
    assert run.error["class"] == "MemoryError"
    assert [(step.key, step.status) for step in list_steps(run.id)] == [("little", "completed"), ("much", "failed")]


def test_too_much_processor_time_kills_the_process_and_fails_the_step_after_its_retries(
    start_worker, effects, statuses
):
    start_worker(lease=LONG)
    start("alone/busy")
    wait_until(lambda: statuses("alone-busy") == {"failed": 1}, 60)
    run = only_run("alone-busy")
    (step,) = list_steps(run.id)
    assert len(effects(step="spin")) == 2  # the first try and one retry
    assert "more processor time than it may" in step.attempts[0]["error"]["message"]
    assert run.error["code"] == "process_lost"


def test_cancelling_kills_a_step_that_does_not_end_within_the_grace(start_worker, effects, statuses, monkeypatch):
    monkeypatch.setenv("TEST_GRACE", "1")
    start_worker(lease=LONG)
    start("alone/slow", seconds=600)
    wait_until(effects)
    run = only_run("alone-slow")
    assert cancel(run.id, "enough")
    db.session.commit()
    wait_until(lambda: statuses("alone-slow") == {"cancelled": 1})
    wait_until(lambda: not is_there(effects()[0]["pid"]))
    db.session.rollback()
    assert get_run(run.id).reason == "enough"


def test_cancelling_leaves_a_step_that_ends_in_time_alone(start_worker, effects, statuses):
    start_worker(lease=LONG)
    start("alone/slow", seconds=1.5)
    wait_until(effects)
    run = only_run("alone-slow")
    assert cancel(run.id)
    db.session.commit()
    wait_until(lambda: statuses("alone-slow") == {"cancelled": 1})
    assert [(step.key, step.status) for step in list_steps(run.id)] == [("part-0", "completed")]


def test_sigterm_lets_isolated_runs_park_at_their_next_step(start_worker, effects, statuses):
    worker = start_worker(lease=LONG)
    start("alone/slow", seconds=1.0)
    wait_until(effects)
    assert worker.stop() == 0
    assert statuses("alone-slow") == {"queued": 1}
    start_worker(lease=LONG)
    wait_until(lambda: statuses("alone-slow") == {"completed": 1})
    assert sorted(effect["step"] for effect in effects()) == ["part-0", "part-1", "part-2"]
    assert only_run("alone-slow").recoveries == 0


def test_a_step_that_does_not_end_is_killed_at_the_drain_time_and_its_run_given_back(
    start_worker, effects, statuses, monkeypatch
):
    monkeypatch.setenv("TEST_DRAIN", "1")
    worker = start_worker(lease=LONG)
    start("alone/slow", seconds=600)
    wait_until(effects)
    assert worker.stop(timeout=15) == 0
    assert statuses("alone-slow") == {"queued": 1}
    assert not is_there(effects()[0]["pid"])


def test_sigkill_of_the_worker_leaves_no_orphan(start_worker, effects):
    worker = start_worker(lease=LONG)
    start("alone/slow", seconds=600)
    wait_until(effects)
    family = psutil.Process(worker.pid).children(recursive=True)
    assert len(family) == 4  # the worker of isolated runs, its zygote, the run, and a process for the next one
    worker.kill()
    wait_until(lambda: not any(is_there(process.pid) for process in family))


@pytest.mark.parametrize("depth", [0, 1])
def test_a_worker_whose_helpers_die_stops_so_that_both_are_started_anew(start_worker, effects, statuses, depth):
    worker = start_worker(lease=2)
    wait_until(lambda: len(list_workers()) == 2)
    beside = psutil.Process(worker.pid).children()[0]
    victim = beside if depth == 0 else beside.children()[0]
    start("alone/slow", seconds=0.5)
    wait_until(effects)
    victim.kill()
    worker.process.wait(20)
    start_worker(lease=2)
    wait_until(lambda: statuses("alone-slow") == {"completed": 1})
