"""Branches: what map and parallel remember, and how they end."""

from __future__ import annotations

from app.db import db
from app.engine import advance, list_runs, send, upkeep, workflow
from app.engine.runtime import runtime
from app.engine.testing import clock, drain, run_workflow


def test_the_failure_of_the_first_branch_in_order_is_raised_after_all_have_ended():
    done = []

    @workflow("branches", on="test/branches", retries=0)
    def branches(ctx, step):
        def work(number):
            done.append(number)
            if number in (1, 3):
                raise KeyError(number)

        step.map("branch", lambda s, n: s.run("work", work, n), range(6), limit=3)

    run = run_workflow(branches, {})
    assert sorted(done) == list(range(6))
    assert run.error["step"] == "branch[1]/work"


def test_branches_park_together_and_only_the_failed_one_runs_again():
    done = []

    @workflow("partly", on="test/partly", backoff=(60,))
    def partly(ctx, step):
        def work(number):
            done.append(number)
            if number == 1 and done.count(1) == 1:
                raise KeyError(number)
            return number

        return step.map("branch", lambda s, n: [s.run("work", work, n), s.run("after", int, n)], [0, 1, 2])

    run = run_workflow(partly, {})
    assert run.output == [[0, 0], [1, 1], [2, 2]]
    assert sorted(done) == [0, 1, 1, 2]


def test_nested_branches_end_even_when_no_helper_thread_is_free(monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    from app.engine.runtime import runtime

    monkeypatch.setattr(runtime(), "step_threads", ThreadPoolExecutor(1))

    @workflow("deep", on="test/deep")
    def deep(ctx, step):
        return step.map(
            "a",
            lambda s, i: s.map(
                "b", lambda t, j: t.map("c", lambda u, k: u.run("x", int, i * 4 + j * 2 + k), [0, 1]), [0, 1]
            ),
            [0, 1],
        )

    assert run_workflow(deep, {}).output == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]


def test_empty_branches_are_fine():
    @workflow("empty", on="test/empty")
    def empty(ctx, step):
        return [step.map("none", lambda s, _n: s.run("x", int), []), step.parallel("nothing", {})]

    assert run_workflow(empty, {}).output == [[], {}]


def test_a_run_parks_while_a_branch_sleeps_although_another_one_has_failed():
    @workflow("mixed", on="test/mixed", retries=0)
    def mixed(ctx, step):
        def sleeps(s):
            s.sleep("nap", "1h")
            s.run("late", lambda: 1 / 0)

        step.parallel("part", {"sleeps": sleeps, "fails": lambda s: s.run("early", lambda: 1 / 0)})

    send("test/mixed", {}, owner_id=None)
    assert drain() == [("mixed", "waiting")]
    drain(advance=True)
    [run] = list_runs()
    assert (run.status, run.error["step"]) == ("failed", "part[sleeps]/late")  # first in order, not in time


def test_a_worker_that_is_refused_in_one_branch_begins_no_step_in_the_others():
    """A process froze in a step of the first branch, and its clock with it: only the database knows of the take-over."""
    begun = []

    @workflow("frozen", on="test/frozen")
    def frozen(ctx, step):
        def work(number):
            begun.append(number)
            clock.advance(runtime().ports.lease_seconds + 1)
            upkeep.run_pass()

        step.map("branch", lambda s, n: s.run("work", work, n), range(4), limit=1)

    send("test/frozen", {}, owner_id=None)
    db.session.commit()
    [claimed] = advance.claim_batch("mine", 1)
    assert advance.advance(*claimed) == "lost"
    assert begun == [0]
