"""What a hostile review found untrue of endings, limits, and of what people do to runs."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import pytest

from app.db import db
from app.engine import (
    CancelOn,
    Concurrency,
    EngineError,
    Timeouts,
    UnknownRun,
    advance,
    cancel,
    get_run,
    list_runs,
    list_steps,
    list_waits,
    pause,
    pause_workflow,
    replay,
    rerun_from,
    resume,
    resume_workflow,
    send,
    upkeep,
    why_not_started,
    workflow,
)
from app.engine.registry import registry
from app.engine.runtime import runtime
from app.engine.testing import clock, drain, run_workflow, sent_events
from app.lib.ids import new_id

WEST, EAST = timezone(timedelta(hours=-12)), timezone(timedelta(hours=12))
BEYOND = [datetime.max.replace(tzinfo=WEST), datetime.min.replace(tzinfo=EAST)]


def start(name="test/w", data=None, **more):
    send(name, data or {}, owner_id=None, **more)
    db.session.commit()
    return list_runs()[0].id


@pytest.fixture
def calls():
    return []


# A deploy: processes of older code run beside those that know a workflow.


@contextlib.contextmanager
def older_code():
    known = dict(registry.by_name)
    registry.by_name.clear()
    yield
    registry.by_name.update(known)


@pytest.mark.parametrize("how", ["deadline", "cancel", "death"])
def test_on_failure_runs_though_a_process_that_does_not_know_the_workflow_ends_the_run(calls, how):
    @workflow(
        "w", on="test/w", timeouts=Timeouts(finish="1h"), on_failure=lambda _ctx, found: calls.append(found.status)
    )
    def w(ctx, step):
        step.sleep("long", "30d")

    run_id = start()
    if how != "death":
        drain()
    for _ in range(6 if how == "death" else 1):
        if how == "death":
            assert advance.claim_batch("killed", 1)
        with older_code():
            if how == "cancel":
                cancel(run_id)
                db.session.commit()
            clock.advance(7200 if how == "deadline" else 31)
            upkeep.run_pass()
    assert get_run(run_id).is_final
    drain()
    assert calls == ["dead" if how == "death" else "cancelled"]


def test_the_end_of_a_hook_starts_nothing_also_where_its_workflow_is_not_known(calls):
    @workflow("w", on="test/w", retries=0, on_failure=lambda _ctx, found: calls.append(found.status))
    def w(ctx, step):
        raise ValueError

    start()
    [claimed] = advance.claim_batch("mine", 1)
    advance.advance(*claimed)
    [hook] = list_runs(workflow="w-failed")
    with older_code():
        cancel(hook.id)
        db.session.commit()
    assert [event["name"] for event in sent_events()] == ["test/w", "run/failed"]


def test_a_run_that_an_ending_started_sends_none_itself():
    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        raise ValueError

    @workflow("reports", on="run/failed")
    def reports(ctx, step):
        pass

    start()
    drain()
    assert [run.status for run in list_runs(workflow="reports")] == ["completed"]
    assert [event["name"] for event in sent_events()] == ["test/w", "run/failed"]


# What a run waited for.


@pytest.fixture
def asks():
    @workflow("w", on="test/w", retries=0, cancel_on=[CancelOn("test/gone")])
    def w(ctx, step):
        event = step.wait_for_event("answer", "test/answered", timeout="1h")
        return event and event.data


def test_a_run_that_is_cancelled_while_it_waits_shows_what_it_has_waited_for(asks, execute):
    run_id = start()
    drain()
    cancel(run_id)
    db.session.commit()
    assert [(step.key, step.kind, step.status) for step in list_steps(run_id)] == [("answer", "wait", "cancelled")]
    assert {(wait.event_name, wait.status) for wait in list_waits(run_id)} == {
        ("test/answered", "closed"),
        ("test/gone", "closed"),
    }
    start("test/answered")
    assert execute("SELECT count(*) FROM wait WHERE status = 'open' OR event_id IS NOT NULL").scalar() == 0


def test_a_dead_run_that_is_resumed_waits_again(asks, execute):
    run_id = start()
    drain()
    execute("UPDATE run SET status = 'queued', due_at = NULL")
    for _ in range(6):
        assert advance.claim_batch("killed", 1)
        clock.advance(31)
        upkeep.run_pass()
    assert get_run(run_id).status == "dead"
    resume(run_id)
    drain()
    assert get_run(run_id).status == "waiting"
    send("test/answered", {"n": 1}, owner_id=None)
    drain()
    assert get_run(run_id).output == {"n": 1}


def test_a_cancelled_run_is_rerun_from_the_step_that_waited(asks):
    run_id = start()
    drain()
    cancel(run_id)
    db.session.commit()
    again = rerun_from(run_id, "answer")
    drain()
    assert (get_run(again).status, [step.status for step in list_steps(again)]) == ("waiting", ["waiting"])


# Limits.


def test_no_value_of_a_key_lifts_its_limit():
    @workflow("w", on="test/w", concurrency=[Concurrency(1, key="event.data.tag")])
    def w(ctx, step):
        pass

    for _ in range(3):
        last = start(data={"tag": "x!paused"})
    with runtime().pool.connection() as connection:
        upkeep.store_upkeep.seen(connection, upkeep.identity("one", "worker", 16))
    assert len(advance.claim_batch("mine", 10)) == 1
    assert why_not_started(last).reason == "concurrency"


def test_a_paused_workflow_whose_limit_has_a_key_is_resumed():
    @workflow("w", on="test/w", concurrency=[Concurrency(1, key="event.data.tag")])
    def w(ctx, step):
        pass

    pause_workflow("w")
    start(data={"tag": "x!paused"})
    upkeep.run_pass()
    assert list_runs()[0].held_by == "w!paused"
    resume_workflow("w")
    db.session.commit()
    upkeep.run_pass()
    assert drain() == [("w", "completed")]


# What a body does outside of steps, and what people do to runs.


@pytest.mark.parametrize("action", [cancel, pause, resume, replay, lambda run_id: rerun_from(run_id, "long")])
def test_what_a_body_does_to_other_runs_outside_any_step_is_refused_as_send_is(action):
    @workflow("other", on="test/other")
    def other(ctx, step):
        step.sleep("long", "30d")

    target = start("test/other")
    drain()

    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        return str(action(target))

    start()
    assert drain() == [("w", "failed")]
    [run] = list_runs(workflow="w")
    assert "Use step.transaction" in run.error["message"]
    assert get_run(target).status == "waiting"


def test_a_step_cancels_another_run():
    @workflow("other", on="test/other")
    def other(ctx, step):
        step.sleep("long", "30d")

    target = start("test/other")
    drain()

    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        return step.transaction("stop", lambda _session: cancel(target))

    assert run_workflow(w, {}).output is True
    assert get_run(target).status == "cancelled"


def test_a_run_is_known_by_the_text_of_its_id_too():
    @workflow("w", on="test/w")
    def w(ctx, step):
        step.sleep("long", "30d")

    run_id = start()
    drain()
    assert [pause(str(run_id)), resume(str(run_id)), cancel(str(run_id))] == [True, True, True]
    assert get_run(replay(str(run_id))).forked_from == run_id
    assert get_run(rerun_from(str(run_id), "long")).forked_from == run_id


@pytest.mark.parametrize("action", [cancel, pause, resume, replay, lambda run_id: rerun_from(run_id, "long")])
def test_what_is_no_id_of_a_run_is_refused_in_words(app, action):
    with pytest.raises(UnknownRun, match="'nonsense' is no run's id; list_runs"):
        action("nonsense")


def test_a_run_of_an_unknown_workflow_says_what_to_do(app):
    with pytest.raises(UnknownRun, match=r"jobs/__init__\.py"):
        replay(new_id())


# Events.


@pytest.mark.parametrize("at", BEYOND)
def test_an_event_of_a_time_that_python_cannot_read_again_is_refused(at):
    with pytest.raises(EngineError, match="not in the years 1 to 9999"):
        start(at=at)


def test_an_event_of_the_last_year_is_read_again():
    last = datetime.max.replace(tzinfo=UTC)
    send("test/w", {}, owner_id=None, at=last.astimezone(WEST))
    db.session.commit()
    assert [event["name"] for event in sent_events()] == ["test/w"]


def test_the_owner_of_an_event_is_a_uuid_or_its_text(app, execute):
    owner = new_id()
    for form in (owner, str(owner)):
        send("test/w", {}, owner_id=form, id="once")
    db.session.commit()
    assert execute("SELECT owner_id FROM event").scalars().all() == [owner]
    with pytest.raises(EngineError, match="'ada' is no owner of 'test/w': give the UUID"):
        send("test/w", {}, owner_id="ada")


def test_a_workflow_that_is_not_known_is_told_with_those_that_are_called_alike():
    @workflow("trial-child")
    def trial_child(ctx, step):
        pass

    with pytest.raises(EngineError, match=r"no workflow 'trial-childd' .*trial-child would.*jobs/__init__.py"):
        registry.name_of("trial-childd")
    with pytest.raises(EngineError, match=r"no workflow 'print' in this process\. Import"):
        registry.name_of(print)
