"""What a hostile review found untrue of reruns: what they copy, and the input that they are given."""

from __future__ import annotations

import contextlib

import pytest

from app.db import db
from app.engine import (
    EngineError,
    StepError,
    UnknownRun,
    cancel,
    get_run,
    list_runs,
    list_steps,
    rerun_from,
    send,
    workflow,
)
from app.engine.testing import drain, run_workflow, sent_events


def start(name="test/w", data=None, **more):
    send(name, data or {}, owner_id=None, **more)
    db.session.commit()
    return list_runs()[0].id


@pytest.fixture
def calls():
    return []


def test_a_rerun_from_a_step_that_backs_off_keeps_a_failure_that_was_caught_before_it(calls):
    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        with contextlib.suppress(StepError):
            step.run("fragile", lambda: calls.append(1) or 1 / 0)
        step.run("later", lambda: 1 / 0, retries=3)

    run_id = start()
    drain()
    cancel(run_id)
    rerun_from(run_id, "later")
    drain()
    assert calls == [1]


@pytest.mark.parametrize("is_remembered", [True, False], ids=["that-is-remembered", "that-backs-off"])
def test_a_rerun_from_a_step_in_a_branch_tries_what_failed_in_a_branch_beside_it_again(calls, is_remembered):
    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        def branch(s, number):
            with contextlib.suppress(StepError):
                s.run("own", lambda: calls.append(f"own {number}") or 1 / 0)
            s.run("work", work, number, retries=0 if number == 1 or is_remembered else 3)

        def work(number):
            calls.append(f"work {number}")
            raise ValueError

        step.map("branch", branch, range(12), limit=1)

    run_id = start()
    drain()
    cancel(run_id)
    calls.clear()
    rerun_from(run_id, "branch[2]/work")
    drain()
    # Its own failure before the step was caught; those beside it are of other branches (also of branch[2x], and [1]).
    assert "own 2" not in calls
    assert {"work 2", "own 1", "work 1", "own 11"} <= set(calls)


def test_a_rerun_of_an_invoke_takes_edited_input():
    @workflow("child")
    def child(ctx, step):
        return ctx.event.data["n"]

    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        return step.invoke("embed", child, {"n": 1})

    run = run_workflow(w, {})
    [shown] = list_steps(run.id)[0].input
    again = rerun_from(run.id, "embed", [{**shown, "data": {"n": 2}}])
    drain(advance=True)
    assert get_run(again).output == 2


@pytest.mark.parametrize("given", [[], [{}], ["child"], [{"data": [1]}], [{"data": {}}, 2]])
def test_edited_input_that_an_invoke_cannot_take_fails_the_step_with_what_to_write(given):
    @workflow("child")
    def child(ctx, step):
        """Be invoked."""

    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        return step.invoke("embed", child, {"n": 1})

    run = run_workflow(w, {})
    again = rerun_from(run.id, "embed", given)
    drain(advance=True)
    error = get_run(again).error
    assert (get_run(again).status, error["code"]) == ("failed", "child_input")
    assert 'write [{"data": {...}}]' in error["message"]
    assert len(list_steps(again)[0].attempts) <= 1


@pytest.mark.parametrize("owner", [None, "01910000-004d-7000-8000-000000000000"])
def test_a_rerun_of_send_event_takes_a_new_payload_with_or_without_an_owner(owner):
    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        step.send_event("tell", "test/told", {"n": 1})

    run = run_workflow(w, {})
    again = rerun_from(run.id, "tell", ["test/told", {"n": 2}] + ([{"owner_id": owner}] if owner else []))
    drain(advance=True)
    assert get_run(again).status == "completed"
    assert [event["data"] for event in sent_events("test/told")] == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize("value", [float("nan"), {1}])
def test_edited_input_that_is_not_json_is_a_typed_error(value):
    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        step.run("work", str, 1)

    run = run_workflow(w, {})
    with pytest.raises(EngineError, match="The edited input is not JSON"):
        rerun_from(run.id, "work", [value])


@pytest.mark.parametrize("key", ["work\0", "work\ud800"])
def test_a_step_whose_key_the_database_cannot_hold_is_an_unknown_one(key):
    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        step.run("work", str, 1)

    run = run_workflow(w, {})
    with pytest.raises(UnknownRun, match="list_steps shows those it has"):
        rerun_from(run.id, key)
