"""Timeouts of steps: a try that takes too long is abandoned, and can do no more harm."""

from __future__ import annotations

import threading
from typing import ClassVar

import pytest
import sqlalchemy as sa

from app.accounts.models import User
from app.db import db
from app.engine import StepError, list_runs, list_steps, send, store, workflow
from app.engine.store import Stored
from app.engine.testing import drain, run_workflow, sent_events
from app.lib import outside, timeouts
from app.lib.ids import new_id
from tests.crash.processes import wait_until

SHORT = 0.05  # of tries that hang
LONG = 60  # of those that do not, however slow the machine is
WAIT = 20


@pytest.fixture
def abandon_once(monkeypatch):
    """Let no timeout strike before `condition` holds, so that a slow machine tests the same."""

    def patch(condition):
        abandon = timeouts.Gate.abandon

        def when_it_holds(gate):
            assert condition()
            return abandon(gate)

        monkeypatch.setattr(timeouts.Gate, "abandon", when_it_holds)

    return patch


@pytest.fixture
def late(abandon_once):
    """A try that hangs until it is let go, and what became of it afterwards."""

    class Late:
        hangs = threading.Event()
        go = threading.Event()
        ended = threading.Event()
        errors: ClassVar[list[str]] = []  # this class is of one test

        def hang(self, then=lambda: "late"):
            self.hangs.set()
            try:
                assert self.go.wait(WAIT)
                return then()
            except BaseException as error:
                self.errors.append(type(error).__name__)
                raise
            finally:
                self.ended.set()

        def let_go(self):
            self.go.set()
            assert self.ended.wait(WAIT)
            for thread in threading.enumerate():
                if thread.name == timeouts.ABANDONED:
                    thread.join(WAIT)

    late = Late()
    abandon_once(lambda: late.hangs.wait(WAIT))
    yield late
    late.let_go() if not late.ended.is_set() else None


def test_a_timed_out_attempt_is_abandoned_and_the_step_tried_again(late):
    @workflow("slow", on="test/slow", backoff=[7.0])
    def slow(ctx, step):
        return step.run("work", (lambda: "in time") if tries else late.hang, timeout=LONG if tries else SHORT)

    tries = []
    send("test/slow", {}, owner_id=None)
    assert drain() == [("slow", "waiting")]  # parked at once, while the try goes on
    run = list_runs(workflow="slow")[0]
    (step,) = list_steps(run.id)
    assert [attempt["error"]["code"] for attempt in step.attempts] == ["timeout"]
    assert timeouts.count() == 1
    tries.append(1)
    drain(advance=True)
    assert list_runs(workflow="slow")[0].output == "in time"


def test_its_late_result_is_refused(late):
    @workflow("slow", on="test/slow")
    def slow(ctx, step):
        return step.run("work", late.hang, timeout=SHORT)

    send("test/slow", {}, owner_id=None)
    drain()
    late.let_go()
    assert late.errors == []  # it returned, and its result went nowhere
    (step,) = list_steps(list_runs(workflow="slow")[0].id)
    assert step.status == "backing-off"
    assert timeouts.count() == 0


def test_its_late_result_is_refused_by_its_number_in_the_database_too(monkeypatch):
    """As if the gate had let it through: the try that was recorded as failed is not remembered, the next one is."""
    monkeypatch.setattr(timeouts.Gate, "commit", lambda _gate: None)
    may_go = threading.Event()
    ended = threading.Event()
    make, stored = store.checkpoint, []

    def checkpoint(connection, memo):
        if not may_go.is_set() and memo.number == 1:
            assert may_go.wait(WAIT)
        stored.append((memo.number, make(connection, memo).is_mine))
        ended.set()
        return Stored(is_mine=stored[-1][1], is_new=stored[-1][1])

    monkeypatch.setattr(store, "checkpoint", checkpoint)

    @workflow("slow", on="test/slow", backoff=[1.0])
    def slow(ctx, step):
        return step.run("work", lambda: ctx.attempt, timeout=LONG if may_go.is_set() else SHORT)

    send("test/slow", {}, owner_id=None)
    drain()
    may_go.set()
    assert ended.wait(WAIT)
    drain(advance=True)
    assert stored == [(1, False), (2, True)]
    assert list_runs(workflow="slow")[0].output == 2


def test_its_session_is_invalidated_and_the_locks_in_it_are_freed(late, execute):
    execute("CREATE TABLE row (id int PRIMARY KEY, n int)")
    execute("INSERT INTO row VALUES (1, 0)")

    def write(session):
        session.execute(sa.text("UPDATE row SET n = n + 1"))
        late.hang(session.commit)

    @workflow("slow", on="test/slow")
    def slow(ctx, step):
        step.transaction("write", write, timeout=SHORT)

    send("test/slow", {}, owner_id=None)
    drain()
    try:
        execute("SET LOCAL statement_timeout = 5000; UPDATE row SET n = n + 10")  # the lock is free
        late.let_go()
        assert late.errors == ["Abandoned"]
        assert execute("SELECT n FROM row").scalar() == 10
    finally:
        execute("DROP TABLE row")


def test_a_statement_that_hangs_in_the_database_is_ended(execute, abandon_once):
    def sleeping():
        return execute(
            "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND state = 'active'"
        ).scalar()

    ended = threading.Event()
    errors = []

    def hang(session):
        try:
            session.execute(sa.text("SELECT pg_sleep(600)"))
        except Exception as error:
            errors.append(error)
            raise
        finally:
            ended.set()

    @workflow("slow", on="test/slow", retries=0)
    def slow(ctx, step):
        step.transaction("hang", hang, timeout=SHORT)

    abandon_once(lambda: wait_until(lambda: sleeping() == 1) is None)
    run = run_workflow(slow, {})
    assert (run.status, run.error["code"]) == ("failed", "timeout")
    assert ended.wait(WAIT)
    assert len(errors) == 1
    wait_until(lambda: sleeping() == 0)


def test_an_abandoned_attempt_gets_no_connection_makes_no_call_outside_and_says_nothing_more(late):
    seen = []

    def try_everything(ctx):
        for deed in (
            lambda: db.session.execute(sa.text("SELECT 1")),
            db.engine.connect,
            outside.before_outside_call,
            lambda: ctx.progress(message="late"),
        ):
            try:
                deed()
            except BaseException as error:  # noqa: BLE001
                seen.append(type(error).__name__)
        seen.append(ctx.is_cancelled)

    @workflow("slow", on="test/slow")
    def slow(ctx, step):
        step.run("work", lambda: late.hang(lambda: try_everything(ctx)), timeout=SHORT)

    send("test/slow", {}, owner_id=None)
    drain()
    late.let_go()
    assert seen == ["Abandoned"] * 4 + [True]


def test_what_an_abandoned_attempt_sent_or_wrote_is_not_kept(late):
    def write():
        db.session.add(User(id=new_id(), email="late@example.org", name="Late"))
        send("test/late", {}, owner_id=None)
        late.hang()

    @workflow("slow", on="test/slow")
    def slow(ctx, step):
        step.run("write", write, timeout=SHORT)

    send("test/slow", {}, owner_id=None)
    drain()
    late.let_go()
    assert sent_events("test/late") == []
    assert db.session.scalar(sa.select(sa.func.count()).where(User.email == "late@example.org")) == 0


def test_an_attempt_that_is_committing_at_its_timeout_is_waited_for(monkeypatch, abandon_once):
    commits, asked = threading.Event(), threading.Event()
    begin_commit = timeouts.Gate.commit

    def commit(gate):
        begin_commit(gate)
        commits.set()
        assert asked.wait(WAIT)

    monkeypatch.setattr(timeouts.Gate, "commit", commit)
    abandon_once(lambda: commits.wait(WAIT) and not asked.set())

    @workflow("close", on="test/close")
    def close(ctx, step):
        return step.run("work", lambda: "in time", timeout=SHORT)

    run = run_workflow(close, {})
    assert (run.status, run.output) == ("completed", "in time")
    assert list_steps(run.id)[0].attempts == []


def test_the_last_try_fails_the_step_which_the_body_may_catch(late):
    @workflow("slow", on="test/slow")
    def slow(ctx, step):
        try:
            step.run("work", late.hang, retries=0, timeout=SHORT)
        except StepError as error:
            return [error.code, step.run("next", lambda: "went on")]

    assert run_workflow(slow, {}).output == ["timeout", "went on"]


def test_timeouts_work_inside_branches_and_the_others_are_kept(late):
    tries = []

    def part(s, n):
        hangs = n == 1 and not tries
        return s.run("work", late.hang if hangs else lambda: n, timeout=SHORT if hangs else LONG)

    @workflow("many", on="test/many", backoff=[1.0])
    def many(ctx, step):
        return step.map("part", part, [0, 1, 2])

    send("test/many", {}, owner_id=None)
    drain()
    run = list_runs(workflow="many")[0]
    assert run.status == "waiting"
    assert {step.key: step.status for step in list_steps(run.id)} == {
        "part[0]/work": "completed",
        "part[1]/work": "backing-off",
        "part[2]/work": "completed",
    }
    tries.append(1)
    drain(advance=True)
    assert list_runs(workflow="many")[0].output == [0, 1, 2]


def test_a_step_in_time_is_none_the_worse_for_its_timeout():
    @workflow("quick", on="test/quick")
    def quick(ctx, step):
        def save(session):
            session.add(User(id=new_id(), email="quick@example.org", name=ctx.key))
            return ctx.attempt

        return [
            step.transaction("save", save, timeout="10m"),
            step.run(
                "read",
                lambda: db.session.scalar(sa.select(User.name).where(User.email == "quick@example.org")),
                timeout="1h",
            ),
        ]

    run = run_workflow(quick, {})
    assert run.output == [1, f"{run.id}/save"]


@pytest.mark.parametrize("timeout", ["soon", "10", "m"])
def test_a_timeout_that_is_none_fails_the_run_and_says_how_to_write_it(timeout):
    @workflow("wrong", on="test/wrong", retries=0)
    def wrong(ctx, step):
        step.run("work", int, timeout=timeout)

    run = run_workflow(wrong, {})
    assert (run.status, run.attempt) == ("failed", 0)
    assert "is no duration" in run.error["message"]
