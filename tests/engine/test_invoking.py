"""`step.invoke`: a child run, its result, its failure."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from app.db import db
from app.engine import NonRetriable, Singleton, advance, cancel, get_run, list_runs, send, workflow
from app.engine.runtime import runtime
from app.engine.testing import clock, crash_after, drain, run_workflow, sent_events
from app.lib.ids import new_id


@pytest.fixture
def double():
    @workflow("double", on=())
    def double(ctx, step):
        return step.run("double", lambda: 2 * ctx.event.data["number"])

    return double


def invoking(**options):
    @workflow("parent", on="test/parent", retries=0)
    def parent(ctx, step):
        return step.invoke("child", "child", {"number": 1}, **options)

    return parent


def begin():
    send("test/parent", {}, owner_id=None)
    drain()
    return list_runs(workflow="parent")[0], list_runs(workflow="child")[0]


def test_invoke_returns_the_childs_result(double):
    @workflow("parent", on="test/parent")
    def parent(ctx, step):
        return step.invoke("child", double, {"number": 21}) + step.invoke("child", "double", {"number": 1})

    alice = new_id()
    run = run_workflow(parent, {}, owner_id=alice)
    assert run.output == 44
    assert {child.owner_id for child in list_runs(workflow="double")} == {alice}


@pytest.mark.parametrize("number", [1, None, "x" * 300_000])
def test_the_result_may_be_anything(number):
    @workflow("child", on=())
    def child(ctx, step):
        return number

    assert run_workflow(invoking(), {}).output == number


def test_its_failure_is_an_error_in_the_parent():
    @workflow("child", on=())
    def child(ctx, step):
        step.run("fail", lambda: (_ for _ in ()).throw(NonRetriable("no such talk")))

    run = run_workflow(invoking(), {})
    assert run.status == "failed"
    assert run.error["code"] == "child_failed"
    assert "no such talk" in run.error["message"]


def test_its_cancellation_is_an_error_in_the_parent():
    @workflow("child", on=())
    def child(ctx, step):
        step.sleep("nap", "1h")

    invoking()
    parent, started = begin()
    cancel(started.id, "no longer wanted")
    db.session.commit()
    drain()
    assert get_run(parent.id).error["code"] == "child_cancelled"
    assert "no longer wanted" in get_run(parent.id).error["message"]


def test_its_timeout_is_an_error_in_the_parent():
    @workflow("child", on=())
    def child(ctx, step):
        step.sleep("nap", "3h")

    invoking(timeout="1h")
    parent, started = begin()
    clock.advance(3601)
    drain()
    assert get_run(parent.id).error["code"] == "child_timeout"
    assert get_run(started.id).status == "waiting"


def test_a_failed_child_can_be_caught():
    from app.engine import StepError

    @workflow("child", on=())
    def child(ctx, step):
        raise NonRetriable("no")

    @workflow("parent", on="test/parent")
    def parent(ctx, step):
        try:
            step.invoke("child", child)
        except StepError as error:
            return error.code

    assert run_workflow(parent, {}).output == "child_failed"


def test_the_childs_id_shows_in_the_parent_while_it_runs():
    @workflow("child", on=())
    def child(ctx, step):
        step.sleep("nap", "3h")

    invoking()
    parent, started = begin()
    assert (started.parent_run, started.parent_step) == (parent.id, "child")
    assert get_run(parent.id).status == "waiting"


def test_a_crash_between_start_and_park_starts_no_second_child(double, monkeypatch):
    @workflow("parent", on="test/parent")
    def parent(ctx, step):
        return step.invoke("child", double, {"number": 21})

    send("test/parent", {}, owner_id=None)
    db.session.commit()
    run, _ = advance.claim_batch("doomed", 1)[0]
    from app.engine import children
    from app.engine.execution import load
    from app.engine.registry import registry

    execution = load(run, registry.by_name["parent"], claimed_at=0)
    child = children.Child("double", {"number": 21}, 60, is_cancelled_with_parent=False)
    children._start(execution, "child", child)
    drain(advance=True)
    assert list_runs(workflow="parent")[0].output == 42
    assert len(list_runs(workflow="double")) == 1


def test_a_crash_after_the_childs_end_loses_nothing(double):
    @workflow("parent", on="test/parent")
    def parent(ctx, step):
        return step.invoke("child", double, {"number": 21})

    send("test/parent", {}, owner_id=None)
    with crash_after("child"):
        drain()
    drain(advance=True)
    assert list_runs(workflow="parent")[0].output == 42


def test_an_unknown_workflow_fails_the_run_and_says_so():
    run = run_workflow(invoking(), {})
    assert run.status == "failed"
    assert "'child'" in run.error["message"]


def test_children_send_their_lifecycle_events(double):
    @workflow("parent", on="test/parent")
    def parent(ctx, step):
        return step.invoke("child", double, {"number": 21})

    run_workflow(parent, {})
    assert {event["data"]["workflow"] for event in sent_events("run/completed")} == {"parent", "double"}


def work_until(stop):
    """Advance whatever is due, on this thread."""
    with runtime().ports.app_context():
        while not stop.is_set():
            claimed = advance.claim_batch("thread", 5)
            for run, claimed_at in claimed:
                advance.advance(run, claimed_at)
            if not claimed:
                stop.wait(0.01)


@pytest.fixture
def workers():
    """Four threads that advance what is due."""
    stop = threading.Event()
    runtime().pool.grow(6)
    threads = [threading.Thread(target=work_until, args=(stop,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    yield stop
    stop.set()
    for thread in threads:
        thread.join()
    for _ in range(6):
        runtime().pool._permits.get()


def test_1000_children_that_finish_in_the_instant_their_parent_parks_hang_nobody(double, workers):
    """Each of ten parents invokes a hundred children, while other threads run them."""

    @workflow("parent", on="test/parent")
    def parent(ctx, step):
        return sum(step.map("each", lambda s, number: s.invoke("child", double, {"number": number}), list(range(100))))

    for _ in range(10):
        send("test/parent", {}, owner_id=None)
    db.session.commit()
    while any(not run.is_final for run in list_runs(workflow="parent")):
        db.session.rollback()
        workers.wait(0.05)
    assert [run.output for run in list_runs(workflow="parent")] == [2 * sum(range(100))] * 10
    assert len(list_runs(workflow="double", limit=500)) == 500
    assert all(run.finished_at - run.created_at < timedelta(minutes=2) for run in list_runs(workflow="parent"))


def test_its_skip_is_an_error_in_the_parent():
    @workflow("child", on="test/child", singleton=Singleton())
    def child(ctx, step):
        step.sleep("nap", "3h")

    send("test/child", {}, owner_id=None)
    db.session.commit()
    invoking()
    send("test/parent", {}, owner_id=None)
    drain()
    [parent] = list_runs(workflow="parent")
    assert (parent.status, parent.error["code"]) == ("failed", "child_skipped")
    assert "singleton" in parent.error["message"]
