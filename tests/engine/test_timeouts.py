"""Timeouts of steps: a try that takes too long is abandoned, and can do no more harm."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from app.accounts.models import User
from app.db import db
from app.engine import StepError, list_runs, list_steps, send, timeouts, workflow
from app.engine.testing import drain, run_workflow, sent_events
from app.lib import outside
from app.lib.ids import new_id

SHORT = 0.05
WAIT = 20


@pytest.fixture
def late():
    """A try that hangs until it is let go, and what became of it afterwards."""

    class Late:
        go = threading.Event()
        ended = threading.Event()
        errors: list[str] = []  # noqa: RUF012

        def hang(self, then=lambda: "late"):
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
    late.errors = []
    yield late
    late.let_go() if not late.ended.is_set() else None


def once_late(late, then=lambda: "late"):
    """Return a function that hangs at its first call only."""
    calls = []

    def work():
        calls.append(1)
        return late.hang(then) if len(calls) == 1 else "in time"

    return work


def test_a_timed_out_attempt_is_abandoned_and_the_step_tried_again(late):
    @workflow("slow", on="test/slow", backoff=[7.0])
    def slow(ctx, step):
        return step.run("work", once_late(late) if not tries else lambda: "in time", timeout=SHORT)

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


def test_its_session_is_invalidated_and_the_locks_in_it_are_freed(late, execute):
    execute("CREATE TABLE row (id int PRIMARY KEY, n int)")
    execute("INSERT INTO row VALUES (1, 0)")

    def write(session):
        session.execute(sa.text("UPDATE row SET n = n + 1"))
        late.hang(session.commit)

    @workflow("slow", on="test/slow")
    def slow(ctx, step):
        step.transaction("write", write, timeout=0.3)

    send("test/slow", {}, owner_id=None)
    drain()
    try:
        execute("SET statement_timeout = 5000; UPDATE row SET n = n + 10")  # the lock is free
        late.let_go()
        assert late.errors == ["Abandoned"]
        assert execute("SELECT n FROM row").scalar() == 10
    finally:
        execute("DROP TABLE row")


def test_a_statement_that_hangs_in_the_database_is_ended(execute):
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
        step.transaction("hang", hang, timeout=0.3)

    run = run_workflow(slow, {})
    assert (run.status, run.error["code"]) == ("failed", "timeout")
    assert ended.wait(WAIT)
    assert len(errors) == 1
    assert (
        execute(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()"
        ).scalar()
        == 0
    )


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


def test_an_attempt_that_is_committing_at_its_timeout_is_waited_for(monkeypatch):
    commits = threading.Event()
    may_abandon = timeouts.Gate.abandon
    original = timeouts.Gate.commit

    def commit(gate):
        original(gate)
        commits.set()
        assert asked.wait(WAIT)

    def abandon(gate):
        asked.set()
        return may_abandon(gate)

    asked = threading.Event()
    monkeypatch.setattr(timeouts.Gate, "commit", commit)
    monkeypatch.setattr(timeouts.Gate, "abandon", abandon)

    @workflow("close", on="test/close")
    def close(ctx, step):
        return step.run("work", lambda: "in time", timeout=0.2)

    run = run_workflow(close, {})
    assert commits.is_set()
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
    hangs = once_late(late)

    @workflow("many", on="test/many", backoff=[1.0])
    def many(ctx, step):
        return step.map("part", lambda s, n: s.run("work", hangs if n == 1 else lambda: n, timeout=SHORT), [0, 1, 2])

    send("test/many", {}, owner_id=None)
    drain()
    run = list_runs(workflow="many")[0]
    assert run.status == "waiting"
    assert {step.key: step.status for step in list_steps(run.id)} == {
        "part[0]/work": "completed",
        "part[1]/work": "backing-off",
        "part[2]/work": "completed",
    }
    drain(advance=True)
    assert list_runs(workflow="many")[0].output == [0, "in time", 2]


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


@pytest.mark.parametrize("timeout", [0, "soon", -1])
def test_a_timeout_that_is_none_fails_the_run_and_says_how_to_write_it(timeout):
    @workflow("wrong", on="test/wrong", retries=0)
    def wrong(ctx, step):
        step.run("work", int, timeout=timeout)

    run = run_workflow(wrong, {})
    assert run.status == "failed"
