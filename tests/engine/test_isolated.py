"""Which workflows are isolated, who claims their runs, and where their hints go (their processes: tests/crash)."""

from __future__ import annotations

import pytest
from rq import Queue
from rq.serializers import JSONSerializer

from app.db import db
from app.engine import (
    Isolated,
    RegistrationError,
    advance,
    isolated,
    list_runs,
    list_steps,
    list_workflows,
    send,
    store_upkeep,
    upkeep,
    workflow,
)
from app.engine.queue import queue_name
from app.engine.runtime import runtime
from app.engine.testing import drain
from app.lib.zygote import Child


@pytest.fixture
def both():
    @workflow("beside", on="test/asked")
    def beside(ctx, step):
        step.run("work", int)

    @workflow("alone", on="test/asked", isolated=Isolated(cpu_seconds=60))
    def alone(ctx, step):
        step.run("work", int)

    @workflow("alone-too", on="test/never", isolated=True)
    def alone_too(ctx, step):
        step.run("work", int)


def ask():
    send("test/asked", {}, owner_id=None)
    db.session.commit()
    return {run.workflow: run.id for run in list_runs()}


@pytest.mark.usefixtures("both")
def test_a_workflow_says_that_and_how_it_is_isolated():
    limits = {found.name: found.isolated for found in list_workflows()}
    assert limits == {"beside": None, "alone": Isolated(cpu_seconds=60), "alone-too": Isolated()}


@pytest.mark.usefixtures("both")
@pytest.mark.parametrize(("isolated", "expected"), [(True, ["alone"]), (False, ["beside"])])
def test_a_worker_claims_only_the_runs_of_its_kind(monkeypatch, isolated, expected):
    runs = ask()
    monkeypatch.setattr(runtime(), "isolated", isolated)
    assert [advance.claim_one("mine", run_id) is not None for run_id in runs.values()] == [
        name in expected for name in runs
    ]
    ask()
    assert [run.workflow for run, _ in advance.claim_batch("mine", 10)] == expected


@pytest.mark.usefixtures("both")
def test_tests_run_both_kinds_in_their_own_process():
    ask()
    assert sorted(drain()) == [("alone", "completed"), ("beside", "completed")]


@pytest.mark.usefixtures("both")
def test_hints_for_isolated_runs_go_to_a_queue_of_their_own(app):
    ask()
    namespace, connection = app.settings.redis_namespace, runtime().hint.__self__.connection
    hinted = {
        kind: [
            job.meta["workflow"]
            for job in Queue(queue_name(namespace, kind), connection=connection, serializer=JSONSerializer).get_jobs()
        ]
        for kind in ("worker", "isolated")
    }
    assert hinted == {"worker": ["beside"], "isolated": ["alone"]}


@pytest.mark.parametrize("limits", [Isolated(memory_bytes=1 << 20), Isolated(cpu_seconds=0)])
def test_limits_under_which_nothing_could_run_are_refused(limits):
    with pytest.raises(RegistrationError):
        workflow("tight", on="test/tight", isolated=limits)(lambda _ctx, _step: None)


class Forks:
    """A zygote whose children do what `work` says and end with the code that it returns."""

    def __init__(self, *_):
        self.work = lambda _run: 0

    def is_alive(self):
        return True

    def fork(self, order, **_):
        child = Child(lambda _number: None)
        child.end(self.work(order[0]))
        return child


@pytest.fixture
def worker(monkeypatch):
    monkeypatch.setattr(isolated, "Zygote", Forks)
    return isolated.IsolatedWorker()


@pytest.mark.usefixtures("both")
@pytest.mark.parametrize("code", [0, 64, *range(isolated.FIRST_CODE, isolated.FIRST_CODE + 6)])
def test_a_step_that_ends_its_process_with_any_code_is_a_lost_process_and_a_failed_try(worker, code):
    def work(run):
        with runtime().pool.connection() as connection:
            active = {"progress": None, "meta": None, "active": '{"work": "2026-01-01T00:00:00Z"}'}
            assert store_upkeep.show(connection, run.id, run.epoch, active)
        return code  # what os._exit(code) in a step comes to

    worker.zygote.work = work
    run_id = ask()["alone"]
    assert worker._advance(*advance.claim_one("mine", run_id)) == "lost"
    upkeep.run_pass()
    db.session.rollback()
    assert [run.status for run in list_runs(workflow="alone")] == ["queued"]  # at once, not after the lease
    [step] = list_steps(run_id)
    assert [attempt["error"]["code"] for attempt in step.attempts] == ["process_lost"]


@pytest.mark.usefixtures("both")
@pytest.mark.parametrize("status", ["completed", "queued", "lost"])
def test_a_child_that_says_what_became_of_its_run_is_believed(worker, status):
    def work(run):
        if status != "lost":  # by a database that is away: its run shows as running until the lease is over
            advance.give_back(run)
        return isolated.FIRST_CODE + isolated.STATUSES.index(status)

    worker.zygote.work = work
    run_id = ask()["alone"]
    assert worker._advance(*advance.claim_one("mine", run_id)) == status
    assert list_steps(run_id) == []
