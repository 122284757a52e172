"""Pausing and resuming a workflow: its events are kept, its runs held."""

from __future__ import annotations

import pytest

from app.db import db
from app.engine import (
    Concurrency,
    RetryAfter,
    advance,
    cancel,
    get_run,
    list_runs,
    list_workflows,
    pause,
    pause_workflow,
    resume,
    resume_workflow,
    send,
    store,
    store_admission,
    upkeep,
    workflow,
)
from app.engine.runtime import runtime
from app.engine.testing import clock, drain, sent_events


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


def test_a_workflow_can_be_paused_too_events_kept_and_runs_held(plain, calls):
    @workflow("other", on="test/plain")
    def other(ctx, step):
        pass

    start()
    assert do(pause_workflow, "plain")
    assert not do(pause_workflow, "plain")
    start()
    assert drain() == [("other", "completed")] * 2
    assert {run.held_by for run in list_runs(workflow="plain")} == {"plain!paused"}
    assert len(sent_events("test/plain")) == 2
    assert [(view.name, view.is_paused) for view in list_workflows()] == [("other", False), ("plain", True)]
    assert do(resume_workflow, "plain")
    assert not do(resume_workflow, "plain")
    assert drain() == [("plain", "completed")] * 2
    assert calls == ["first", "second"] * 2


def test_no_run_of_a_paused_workflow_starts_before_upkeep_has_come_round(plain):
    @workflow("limited", on="test/limited", concurrency=[Concurrency(5)])
    def limited(ctx, step):
        pass

    hinted = start()
    start("test/limited")
    for name in ("plain", "limited"):
        do(pause_workflow, name)
    assert advance.claim_batch("mine", 10) == []
    for run in list_runs():
        assert advance.claim_one("mine", run.id) is None
    assert get_run(hinted).held_by is None


def test_running_runs_of_a_paused_workflow_go_on_until_they_park_or_end(plain, patient):
    start()
    start("test/patient")
    claimed = advance.claim_batch("mine", 10)
    for name in ("plain", "patient"):
        do(pause_workflow, name)
    assert sorted(advance.advance(*each) for each in claimed) == ["completed", "waiting"]
    clock.advance(3601)
    assert drain() == []
    [run] = list_runs(workflow="patient")
    assert (run.status, run.held_by) == ("queued", "patient!paused")
    do(resume_workflow, "patient")
    assert drain() == [("patient", "completed")]


def test_a_paused_workflow_with_a_limit_keeps_it_when_it_is_resumed():
    @workflow("limited", on="test/limited", concurrency=[Concurrency(1)])
    def limited(ctx, step):
        pass

    start("test/limited", 3)
    do(pause_workflow, "limited")
    upkeep.run_pass()
    db.session.rollback()
    assert {run.held_by for run in list_runs()} == {"limited!paused"}
    do(resume_workflow, "limited")
    upkeep.run_pass()
    assert len(advance.claim_batch("mine", 10)) == 1
    assert advance.claim_batch("mine", 10) == []


@pytest.mark.parametrize("by_hint", [False, True])
def test_who_was_held_is_not_overtaken_before_upkeep_has_come_round(by_hint):
    @workflow("limited", on="test/limited", concurrency=[Concurrency(1, key="event.data.key"), Concurrency(2)])
    def limited(ctx, step):
        pass

    do(pause_workflow, "limited")
    first = start("test/limited", key="x")
    upkeep.run_pass()
    assert get_run(first).held_by == "limited!paused"
    do(resume_workflow, "limited")
    second = start("test/limited", key="x")

    claimed = [advance.claim_one("mine", second)] if by_hint else advance.claim_batch("mine", 4)
    assert [each for each in claimed if each and each[0].id != first] == []
    upkeep.run_pass()
    assert [run.id for run, _ in advance.claim_batch("mine", 4)] == [first]
    assert advance.claim_one("mine", second) is None


def test_a_held_run_of_a_paused_workflow_can_be_cancelled(plain):
    run_id = start()
    do(pause_workflow, "plain")
    upkeep.run_pass()
    assert do(cancel, run_id)
    assert get_run(run_id).status == "cancelled"


INSERT_MANY = """INSERT INTO run (id, workflow, version, status, event_id, event_name, sort_at, created_at)
SELECT gen_random_uuid(), 'plain', 1, 'queued', gen_random_uuid(), 'test/plain', now() - interval '1 hour', now()
FROM generate_series(1, :count)"""


def test_the_runs_of_a_paused_workflow_cost_others_nothing(plain, execute):
    """Measured in rows that a claim looks at: they have left its index."""

    @workflow("other", on="test/other")
    def other(ctx, step):
        pass

    start("test/other")
    do(pause_workflow, "plain")
    execute(INSERT_MANY, count=12_000)
    upkeep.run_pass()
    assert execute("SELECT count(*) FROM run WHERE held_by IS NULL").scalar() == 2_001  # ten batches a pass
    upkeep.run_pass()
    assert execute("SELECT count(*) FROM run WHERE held_by = 'plain!paused'").scalar() == 12_000
    values = {"worker": "mine", "lease": 30, "workflows": ["plain", "other"], "limit": 1}
    claim = store.with_ready(store.CLAIM, 2, "flow_a IS NULL")
    with runtime().pool.connection() as connection, connection.transaction(force_rollback=True):
        plan = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {claim}", values).fetchone()[0]
    assert "'Rows Removed by Filter': 1" not in str(plan)


def test_resuming_a_workflow_lets_its_runs_go_in_batches(plain, execute):
    execute(INSERT_MANY, count=1500)
    do(pause_workflow, "plain")
    upkeep.run_pass()
    do(resume_workflow, "plain")
    upkeep.run_pass()
    count = "SELECT count(*) FROM run WHERE held_by IS NOT NULL"
    assert execute(count).scalar() == 1500 - store_admission.BATCH
    upkeep.run_pass()
    assert execute(count).scalar() == 0


def test_pages_of_queued_runs_are_told_that_their_workflow_is_paused_or_resumed(plain, monkeypatch):
    send("test/plain", {}, owner_id=None)
    db.session.commit()
    [run] = list_runs()
    for change in (pause_workflow, resume_workflow):
        announced = set()
        monkeypatch.setattr(runtime(), "announce", announced.update)
        assert change("plain")
        assert announced == set()
        db.session.commit()
        assert announced == {f"run:{run.id}"}
