"""Values that nobody would write on purpose: each is refused or kept as well as it can be, and no run dies of it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import threading
from datetime import UTC

import pytest

from app.db import db
from app.engine import NonRetriable, RetryAfter, list_logs, list_runs, list_steps, meta, send, workflow
from app.engine.testing import drain, run_workflow
from app.errors import Busy, Transient
from app.lib.progress import Progress


class Mute(Exception):
    """An error that cannot say what it is."""

    def __str__(self):
        raise RuntimeError("no words")


def run_to_its_end():
    """Drain as often as a run may be taken over, whatever comes of it."""
    send("test/w", {}, owner_id=None)
    db.session.commit()
    for _ in range(8):
        with contextlib.suppress(BaseException):
            drain(advance=True)
    return list_runs(workflow="w")[0]


# --- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [SystemExit(2), asyncio.CancelledError()])
@pytest.mark.parametrize("timeout", [None, "1m"])
def test_a_step_that_exits_or_is_cancelled_by_its_library_fails_like_any_other(error, timeout):
    tries = []

    @workflow("w", on="test/w", retries=1)
    def w(ctx, step):
        def work():
            tries.append(ctx.attempt)
            raise error

        step.run("work", work, timeout=timeout)

    run = run_to_its_end()
    assert (run.status, run.error["class"], tries) == ("failed", type(error).__name__, [1, 2])
    assert "in work" in list_steps(run.id)[0].attempts[0]["error"]["traceback"]


@pytest.mark.parametrize("is_branch", [False, True])
@pytest.mark.parametrize("error", [SystemExit(2), asyncio.CancelledError()])
def test_a_body_that_exits_or_is_cancelled_by_its_library_is_tried_again_and_fails(error, is_branch):
    passes = []

    @workflow("w", on="test/w", retries=1)
    def w(ctx, step):
        def leave(*_):
            passes.append(1)
            raise error

        step.map("part", leave, [1]) if is_branch else leave()

    assert (run_to_its_end().status, len(passes)) == ("failed", 2)


def test_an_error_whose_text_cannot_be_had_is_a_failed_try_of_its_step():
    tries = []

    @workflow("w", on="test/w", retries=1)
    def w(ctx, step):
        def work():
            tries.append(ctx.attempt)
            raise Mute

        step.run("work", work)

    run = run_workflow(w, {})
    assert (tries, run.error["step"], run.error["message"]) == ([1, 2], "work", "<Mute that has no text>")


def test_an_error_of_the_body_whose_text_cannot_be_had_fails_the_run():
    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        error = Mute()
        try:
            raise error
        except Mute:
            ctx.log.exception("It broke.")
            raise

    run = run_to_its_end()
    assert (run.status, run.error["class"]) == ("failed", "Mute")
    assert [line.fields["error"] for line in list_logs(run.id)] == ["Mute: <Mute that has no text>"]


def test_an_error_whose_code_is_no_text_is_a_failure_of_its_step():
    class Gone(NonRetriable):
        code = UTC

    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        def work():
            raise Gone

        step.run("work", work)

    error = run_workflow(w, {}).error
    assert (error["step"], error["code"]) == ("work", "error")


@pytest.mark.parametrize("error", [RetryAfter(float("nan")), Busy("Not your turn.", float("nan"))])
@pytest.mark.parametrize("is_in_step", [True, False])
def test_to_be_put_off_for_no_number_of_seconds_is_to_be_put_off_for_one(error, is_in_step):
    tries = []

    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        def work():
            tries.append(ctx.execution.now())
            if len(tries) == 1:
                raise error

        step.run("work", work) if is_in_step else work()

    assert run_workflow(w, {}).status == "completed"
    assert 1 <= (tries[1] - tries[0]).total_seconds() < 60


@pytest.mark.parametrize("after", [float("nan"), float("inf"), 1e15])
@pytest.mark.parametrize("is_in_step", [True, False])
def test_whatever_another_side_asks_for_a_try_fails_like_any_other(after, is_in_step):
    @workflow("w", on="test/w", retries=1)
    def w(ctx, step):
        def work():
            raise Transient("Busy.", retry_after=after)

        step.run("work", work) if is_in_step else work()

    send("test/w", {}, owner_id=None)
    assert drain() == [("w", "waiting")]
    [run] = list_runs()
    assert (run.due_at - run.created_at).days <= 3650


# --- meta and progress -------------------------------------------------------------------------------------------


def in_the_order_1_0_2(ctx, step, changes):
    """Run three branches, each of which changes meta in a step; they come to it in another order than they stand."""
    done = [threading.Event() for _ in changes]

    def branch(s, number):
        if number != 1:
            assert done[1 if number == 0 else 0].wait(5)
        try:
            s.run("change", changes[number])
        finally:
            done[number].set()

    step.map("branch", branch, range(3))


def test_increments_in_branches_never_add_up_to_what_is_no_json():
    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        add = functools.partial(ctx.meta.increment, "n", 1e308)
        in_the_order_1_0_2(ctx, step, [lambda: ctx.meta.set("n", 0), add, add])

    run = run_to_its_end()
    assert (run.status, run.meta) == ("completed", {"n": 1e308})


def test_an_increment_beyond_what_json_can_hold_is_refused_where_it_is_said():
    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        ctx.meta.set("n", ctx.event.data["first"])
        step.run("add", ctx.meta.increment, "n", 1e308)

    for first in (1e308, 10**400):
        run = run_workflow(w, {"first": first})
        assert "does not fit" in run.error["message"]
        assert run.meta == {"n": first}


def test_meta_is_64_kib_at_most_whatever_the_order_in_which_branches_come():
    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        add = functools.partial(ctx.meta.append, "n", "x" * 40_000)
        in_the_order_1_0_2(ctx, step, [lambda: ctx.meta.set("n", []), add, add])

    run = run_workflow(w, {})
    assert (run.error["code"], run.error["step"]) == ("limit_exceeded", "branch[2]/change")
    assert len(json.dumps(run.meta)) < meta.MAX_BYTES


def test_meta_is_64_kib_at_most_also_of_steps_that_go_on_at_once():
    both = threading.Barrier(2, timeout=5)

    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        def work(number):
            if number == 1:
                ctx.meta.append("n", "x" * 40_000)
            both.wait()
            try:
                if number == 0:
                    ctx.meta.set("n", ["x" * 40_000])
            finally:
                both.wait()

        step.map("branch", lambda s, number: s.run("change", work, number), [0, 1])

    run = run_workflow(w, {})
    assert (run.status, run.error["code"]) == ("failed", "limit_exceeded")


@pytest.mark.parametrize("said", [{"current_step": float("nan")}, {"done": 5e-324, "total": 1}, {"message": "\ud800"}])
def test_progress_of_any_kind_ends_no_run(said):
    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        ctx.progress(current_step="count", done=0, total=1)
        ctx.progress(**said)

    run = run_to_its_end()
    assert run.status == "completed"
    assert json.dumps(run.progress, allow_nan=False, ensure_ascii=False).encode()


def test_progress_has_a_size():
    progress = Progress()
    for number in range(300):
        progress.say(current_step=str(number) * 100_000, message="x" * 100_000)
    assert len(progress.take()) < 50_000


# --- arguments and results ---------------------------------------------------------------------------------------


def test_what_is_logged_or_passed_on_can_be_read_however_deep_it_is():
    deep = functools.reduce(lambda inner, _: [inner], range(880), [])

    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        ctx.log.info("Deep.", deep=deep)
        step.run("work", bool, deep)

    run = run_workflow(w, {})

    def from_below(levels):
        return (list_steps(run.id), list_logs(run.id)) if levels == 0 else from_below(levels - 1)

    [step], [line] = from_below(150)
    assert step.input == ["(over 200 levels deep, not kept)"]
    assert line.fields == "(over 200 levels deep, not kept)"


def test_the_first_pass_sees_a_pair_of_surrogates_as_each_later_one():
    seen = []

    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        seen.append(step.run("work", lambda: "\ud83d\ude00"))
        step.sleep("nap", "1m")

    run_workflow(w, {})
    assert seen == ["\N{GRINNING FACE}"] * 2


def test_a_result_that_is_not_json_is_found_by_its_path_and_what_to_do_is_said():
    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        step.run("work", lambda: {"chapters": [{"tags": ["a"]}, {"tags": {"a"}}]})

    message = run_workflow(w, {}).error["message"]
    assert "The result of step 'work' is not JSON at ['chapters'][1]['tags']:" in message
    assert message.endswith("Use text, numbers, booleans, None, lists and dicts.")


def test_an_event_that_is_too_large_says_what_to_do():
    with pytest.raises(Exception, match=r"at most 524288 are sent[.] Store it and send its key[.]"):
        send("test/large", {"text": "x" * 600_000}, owner_id=None)
