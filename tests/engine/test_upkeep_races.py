"""What upkeep leaves alone, and what it must not leave lying."""

from __future__ import annotations

import pytest

from app.db import db
from app.engine import (
    Concurrency,
    advance,
    cancel,
    get_run,
    list_runs,
    pause_workflow,
    send,
    store,
    store_upkeep,
    upkeep,
    workflow,
)
from app.engine.after import After
from app.engine.registry import registry
from app.engine.runtime import runtime
from app.engine.testing import clock, drain, sent_events
from app.lib.rows import rows_of


@pytest.fixture
def hooked():
    return []


@pytest.fixture
def limited(hooked):
    @workflow(
        "limited",
        on="test/limited",
        concurrency=[Concurrency(1)],
        on_failure=lambda _ctx, outcome: hooked.append(outcome.status),
    )
    def limited(ctx, step):
        step.run("work", lambda: None)


def claim_one():
    send("test/limited", {}, owner_id=None)
    db.session.commit()
    [(claimed, _)] = advance.claim_batch("mine", 1)
    return claimed


def test_a_run_whose_worker_has_renewed_its_lease_meanwhile_is_not_buried(limited, monkeypatch, execute):
    """It came to itself between the count of its take-overs and the burial, which are two transactions."""
    run = claim_one()
    execute("UPDATE run SET recoveries = :most, flow_a = NULL", most=upkeep.MAX_RECOVERIES)
    clock.advance(31)
    bury = upkeep._bury

    def late(connection, lost, recoveries):
        assert store_upkeep.heartbeat(connection, {run.id: run.epoch}, 30.0) == {run.id}
        return bury(connection, lost, recoveries)

    monkeypatch.setattr(upkeep, "_bury", late)
    upkeep.run_pass()
    db.session.rollback()
    assert (get_run(run.id).status, sent_events("run/dead")) == ("running", [])
    monkeypatch.undo()
    clock.advance(31)
    drain()
    assert get_run(run.id).status == "dead"


def pause_its_workflow(_run, _execute):
    pause_workflow("limited")
    db.session.commit()


def fill_its_key(run, execute):
    send("test/limited", {}, owner_id=None)
    db.session.commit()
    execute(
        "UPDATE run SET status = 'running', lease_until = engine_now() + interval '1 day' WHERE id <> :id", id=run.id
    )


def forget_its_workflow(_run, _execute):
    del registry.by_name["limited"]


@pytest.mark.parametrize("block", [pause_its_workflow, fill_its_key, forget_its_workflow])
def test_a_run_that_was_asked_to_end_and_was_given_back_ends_although_nothing_can_claim_it(
    limited, hooked, execute, block
):
    run = claim_one()
    cancel(run.id, "no longer wanted")
    db.session.commit()
    advance.give_back(run)
    block(run, execute)
    upkeep.run_pass()
    db.session.rollback()
    found = get_run(run.id)
    assert (found.status, found.reason, found.error) == ("cancelled", "no longer wanted", None)
    assert [event["data"]["reason"] for event in sent_events("run/cancelled")] == ["no longer wanted"]
    if block is not forget_its_workflow:
        drain()
        assert hooked == ["cancelled"]


def test_a_run_that_was_asked_to_end_for_being_late_keeps_its_error_when_it_was_given_back(limited, execute):
    run = claim_one()
    execute("UPDATE run SET deadline_at = engine_now() - interval '1 second', finish_seconds = 600")
    upkeep.run_pass()
    advance.give_back(run)
    pause_its_workflow(run, execute)
    upkeep.run_pass()
    db.session.rollback()
    assert (get_run(run.id).status, get_run(run.id).error["code"]) == ("cancelled", "timed_out")
    assert get_run(run.id).reason == "not finished within 10 min"


def test_more_than_five_take_overs_without_a_new_step_are_death_and_the_hook_runs():
    seen = []

    @workflow("cursed", on="test/cursed", on_failure=lambda _ctx, outcome: seen.append(outcome.status))
    def cursed(ctx, step):
        raise AssertionError

    send("test/cursed", {}, owner_id=None)
    db.session.commit()
    for _ in range(6):
        assert len(advance.claim_batch("doomed", 1)) == 1
        clock.advance(31)
        upkeep.run_pass()
    assert list_runs(workflow="cursed")[0].status == "dead"
    drain()
    assert seen == ["dead"]


def test_a_run_that_cannot_be_rescued_keeps_no_other_from_its_rescue(monkeypatch):
    @workflow("two", on="test/two")
    def two(ctx, step):
        raise AssertionError

    for _ in range(2):
        send("test/two", {}, owner_id=None)
    db.session.commit()
    first, second = [run.id for run, _ in advance.claim_batch("doomed", 2)]
    clock.advance(31)
    rescue = upkeep._rescue

    def refuse_the_first(connection, lost):
        if lost.id == first:
            raise KeyError("bad row")
        return rescue(connection, lost)

    monkeypatch.setattr(upkeep, "_rescue", refuse_the_first)
    upkeep.run_pass()
    assert [get_run(run_id).status for run_id in (first, second)] == ["running", "queued"]


def test_a_run_that_its_worker_ends_while_it_is_given_up_is_not_dead():
    hooked = []

    @workflow("alive", on="test/alive", on_failure=lambda _ctx, outcome: hooked.append(outcome.status))
    def alive(ctx, step):
        return "done"

    send("test/alive", {}, owner_id=None)
    drain()
    [run] = list_runs()
    with runtime().pool.connection() as connection:
        row = rows_of(store.RunRow, connection, f"{store.SELECT_RUN} id = %s", [run.id])[0]
        ended = upkeep._bury(connection, row, 6)
    assert (ended.is_done, ended.after) == (False, After())
    drain()
    assert [found.status for found in list_runs()] == ["completed"]
    assert (hooked, sent_events("run/dead")) == ([], [])
