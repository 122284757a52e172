"""What a workflow's body knows and says: time, chance, keys, progress, meta and log, over replays and retries."""

from __future__ import annotations

import threading
import time
import uuid

import pytest

from app.db import db
from app.engine import cancel, get_run, list_logs, list_runs, list_steps, meta, send, workflow
from app.engine.beat import TICK, Beat
from app.engine.runtime import runtime
from app.engine.testing import clock, crash_after, drain, run_workflow


def start(name, data=None):
    send(name, data or {}, owner_id=None)
    drain()
    [run] = list_runs()
    return run


# --- meta --------------------------------------------------------------------------------------------------------


def test_what_a_step_did_to_meta_counts_exactly_once_over_retries_and_replays():
    @workflow("count", on="test/count")
    def count(ctx, step):
        def work():
            ctx.meta.increment("done")
            ctx.meta.append("seen", {"attempt": ctx.attempt})
            return 1 / (ctx.attempt - 1)

        step.run("first", work)
        ctx.meta.increment("passes-by")
        step.run("second", work)

    run = run_workflow(count, {})
    assert run.meta == {"done": 2, "passes-by": 1, "seen": [{"attempt": 2}, {"attempt": 2}]}


def test_a_failed_try_leaves_nothing_in_meta():
    @workflow("fails", on="test/fails", retries=0)
    def fails(ctx, step):
        def work():
            ctx.meta.set("never", 1)
            raise ValueError

        ctx.meta.set("before", 1)
        step.run("work", work)

    assert run_workflow(fails, {}).meta == {"before": 1}


def test_meta_counts_once_when_the_worker_dies_after_a_step():
    @workflow("dies", on="test/dies")
    def dies(ctx, step):
        step.run("first", lambda: ctx.meta.increment("done", 2.5))
        step.transaction("second", lambda _session: ctx.meta.increment("done"))

    send("test/dies", {}, owner_id=None)
    with crash_after("first"):
        drain()
    drain(advance=True)
    assert list_runs()[0].meta == {"done": 3.5}


def test_the_order_of_meta_is_that_of_the_body_whatever_the_timing_of_branches():
    released = threading.Event()

    @workflow("branches", on="test/branches")
    def branches(ctx, step):
        def branch(s, number):
            if number == 0:
                released.wait(10)
            s.run("say", lambda: [ctx.meta.append("order", number), ctx.meta.set("last", number)])
            ctx.meta.append("order", f"after {number}")
            released.set()

        ctx.meta.append("order", "begin")
        step.map("each", branch, [0, 1])
        ctx.meta.append("order", "end")

    run = run_workflow(branches, {})
    assert run.meta == {"order": ["begin", 0, "after 0", 1, "after 1", "end"], "last": 1}


def test_meta_outside_of_steps_starts_from_empty_on_each_pass():
    passes = []

    @workflow("body", on="test/body")
    def body(ctx, step):
        passes.append(ctx.meta.increment("passes"))
        if len(passes) == 1:
            ctx.meta.set("only the first time", True)
        step.run("fail-once", lambda: 1 / (ctx.attempt - 1))

    assert start("test/body").meta == {"passes": 1, "only the first time": True}
    drain(advance=True)
    assert (len(passes), list_runs()[0].meta) == (2, {"passes": 1})


def test_meta_over_64_kib_is_a_typed_error_that_names_the_limit():
    @workflow("large", on="test/large", retries=0)
    def large(ctx, step):
        for number in range(3):
            step.run("half", lambda number=number: ctx.meta.set(str(number), "x" * (meta.MAX_BYTES // 2 - 50)))

    run = run_workflow(large, {})
    assert (run.status, run.error["class"], run.error["code"]) == ("failed", "LimitExceeded", "limit_exceeded")
    assert "at most 65536 are kept" in run.error["message"]
    assert list(run.meta) == ["0", "1"]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda ctx: ctx.meta.increment("text"), "EngineError"),
        (lambda ctx: ctx.meta.append("text", 1), "EngineError"),
        (lambda ctx: ctx.meta.increment("number", "2"), "EngineError"),
        (lambda ctx: ctx.meta.set("set", {1, 2}), "NotJson"),
    ],
)
def test_what_meta_cannot_hold_is_refused_where_it_is_said(change, name):
    @workflow("refused", on="test/refused", retries=0)
    def refused(ctx, step):
        ctx.meta.set("text", "words")
        step.run("change", change, ctx)

    run = run_workflow(refused, {})
    assert (run.error["class"], run.meta) == (name, {"text": "words"})


def test_a_rerun_takes_over_what_the_copied_steps_did_to_meta(app):
    from app.engine import rerun_from

    @workflow("again", on="test/again")
    def again(ctx, step):
        step.run("first", lambda: ctx.meta.increment("done"))
        step.run("second", lambda: ctx.meta.increment("done"))

    first = run_workflow(again, {})
    again_id = rerun_from(first.id, "second")
    drain()
    assert get_run(again_id).meta == {"done": 2}


def test_meta_is_shown_while_the_run_goes_on_and_never_falls_back_during_a_replay():
    beat, shown = Beat("test", 1), []

    def look(ctx):
        beat.watch(ctx.execution)
        beat.show()
        db.session.rollback()
        shown.append(get_run(ctx.run_id).meta)

    @workflow("shown", on="test/shown")
    def run_shown(ctx, step):
        step.run("first", lambda: ctx.meta.increment("done"))
        look(ctx)
        step.run("second", lambda: 1 / (ctx.attempt - 1))
        ctx.meta.increment("done")
        step.run("third", lambda: None)
        look(ctx)

    run_workflow(run_shown, {})
    # First pass: one step done. Second pass: nothing is written on the way back to where it was.
    assert shown == [{"done": 1}, {"done": 1}, {"done": 2}]


def test_a_run_that_is_given_back_on_its_way_keeps_the_meta_that_people_saw(monkeypatch):
    @workflow("kept", on="test/kept", backoff=(60,))
    def kept(ctx, step):
        step.run("first", lambda: ctx.meta.increment("done"))
        step.run("second", lambda: 1 / (ctx.attempt - 1))

    assert start("test/kept").meta == {"done": 1}
    clock.advance(100)
    from app.engine import upkeep

    upkeep.run_pass()
    monkeypatch.setattr(runtime(), "is_draining", True)
    drain_once()
    assert (list_runs()[0].status, list_runs()[0].meta) == ("queued", {"done": 1})


def drain_once():
    from app.engine import advance

    [(run, claimed_at)] = advance.claim_batch("test", 1)
    advance.advance(run, claimed_at)
    db.session.expire_all()


# --- log ---------------------------------------------------------------------------------------------------------


def test_what_the_body_logs_is_kept_with_its_run():
    @workflow("logs", on="test/logs")
    def logs(ctx, step):
        ctx.log.debug("too small")
        ctx.log.info("began", video=uuid.UUID(int=7), api_key="sk-1", nested={"password": "x"}, tokens=3)
        step.run("work", lambda: ctx.log.bind(part=1).warning("looks odd\x00", strange={1, 2}))

    run = run_workflow(logs, {})
    first, second = list_logs(run.id)
    assert (first.level, first.step, first.message) == ("info", None, "began")
    assert first.fields == {
        "video": str(uuid.UUID(int=7)), "api_key": "[hidden]", "nested": {"password": "[hidden]"}, "tokens": 3,
    }  # fmt: skip
    assert (second.level, second.step, second.message) == ("warning", "work", "looks odd\N{REPLACEMENT CHARACTER}")
    assert second.fields == {"part": 1, "strange": "<set>"}
    assert list_logs(run.id, after=first.id) == [second]


def test_a_log_line_written_in_a_step_that_is_retried_stays_and_a_replayed_one_is_kept_once():
    @workflow("retried", on="test/retried")
    def retried(ctx, step):
        def work():
            ctx.log.info("trying", attempt=ctx.attempt)
            return 1 / (ctx.attempt - 1)

        ctx.log.info("before")
        step.run("work", work)
        ctx.log.info("after")
        step.map("each", lambda _s, number: ctx.log.info("branch", number=number), [1, 2], limit=1)
        step.run("more", work)
        ctx.log.info("end")

    run = run_workflow(retried, {})
    assert [line.message for line in list_logs(run.id)] == [
        "before", "trying", "trying", "after", "branch", "branch", "trying", "trying", "end",
    ]  # fmt: skip


def test_an_exception_in_the_log_says_which():
    @workflow("caught", on="test/caught")
    def caught(ctx, step):
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError:
            ctx.log.exception("did not work")

    [line] = list_logs(run_workflow(caught, {}).id)
    assert (line.level, line.fields) == ("error", {"error": "ZeroDivisionError: division by zero"})


def test_at_most_1000_lines_a_run_of_2000_characters_are_kept():
    @workflow("chatty", on="test/chatty")
    def chatty(ctx, step):
        def work():
            for _ in range(700):
                ctx.log.info("x" * 3000)
            return 1 / (ctx.attempt - 1)

        step.run("work", work)

    lines = list_logs(run_workflow(chatty, {}).id)
    assert (len(lines), len(lines[-1].message)) == (1000, 2000)


def test_the_beat_keeps_the_log_while_a_step_goes_on():
    beat = Beat("test", 1)

    @workflow("live", on="test/live")
    def live(ctx, step):
        def work():
            beat.watch(ctx.execution)
            ctx.log.info("going on")
            beat.show()
            return [line.message for line in list_logs(ctx.run_id)]

        return step.run("work", work)

    assert run_workflow(live, {}).output == ["going on"]


# --- what was there ------------------------------------------------------------------------------------------------


def test_now_and_random_are_remembered():
    seen = []

    @workflow("clocked", on="test/clocked")
    def clocked(ctx, step):
        seen.append((ctx.now(), ctx.random()))
        step.run("fail-once", lambda: 1 / (ctx.attempt - 1))

    run_workflow(clocked, {})
    assert seen[0] == seen[1]
    assert seen[0][0].utcoffset().total_seconds() == 0


def test_attempt_is_that_of_the_step_and_outside_of_steps_that_of_the_body():
    seen = []

    @workflow("tries", on="test/tries", retries=1)
    def tries(ctx, step):
        seen.append(("body", ctx.attempt))
        step.run("work", lambda: seen.append(("step", ctx.attempt)) or 1 / (ctx.attempt - 1))
        1 / (ctx.attempt - 1)

    run_workflow(tries, {})
    assert seen == [("body", 1), ("step", 1), ("body", 1), ("step", 2), ("body", 2)]


def test_key_is_the_idempotency_key_of_the_current_step_and_the_same_on_every_try():
    keys = []

    @workflow("keyed", on="test/keyed")
    def keyed(ctx, step):
        step.run("pay", lambda: keys.append(ctx.key) or 1 / (ctx.attempt - 1))
        step.map("each", lambda s, _n: s.run("pay", lambda: keys.append(ctx.key)), [1, 2], limit=1)

    run = run_workflow(keyed, {})
    assert keys == [f"{run.id}/{key}" for key in ("pay", "pay", "each[0]/pay", "each[1]/pay")]


def test_a_running_step_sees_is_cancelled_and_its_result_is_kept():
    beat = Beat("test", 1)

    @workflow("long", on="test/long")
    def long(ctx, step):
        def work():
            beat.watch(ctx.execution)
            before = ctx.is_cancelled
            cancel(ctx.run_id)
            db.session.commit()
            beat.look()
            return [before, ctx.is_cancelled]

        step.run("work", work)
        step.run("never", lambda: None)

    run = run_workflow(long, {})
    assert (run.status, [each.output for each in list_steps(run.id)]) == ("cancelled", [[False, True]])


def test_progress_is_written_at_most_10_times_a_second_per_run(monkeypatch):
    """Each round of the beat writes a run once at most, and waits for a tenth of a second first."""
    from app.engine import store_upkeep

    written, waits = [], []
    show = store_upkeep.show
    monkeypatch.setattr(store_upkeep, "show", lambda *args: written.append(1) or show(*args))

    class Stop(threading.Event):
        def wait(self, timeout=None):
            for number in range(50):
                self.execution.progress.say(message=f"{len(waits)} {number}")
                self.execution.meta.increment("said")
            waits.append(timeout)
            if len(waits) == 20:
                beat.forget(self.execution.run)
                return True
            return False

    beat, stop = Beat(None, 1), Stop()

    @workflow("says", on="test/says")
    def says(ctx, step):
        def work():
            stop.execution = ctx.execution
            beat.watch(ctx.execution)
            beat.loop(stop)

        step.run("work", work)

    run_workflow(says, {})
    assert (len(waits), min(waits) >= TICK, len(written)) == (20, True, 19)


def cost(call, seconds=1.0):
    """Return which part of a step of `seconds` a thousand calls take: the best of three."""
    took = []
    for _ in range(3):
        begin = time.perf_counter()
        for number in range(1000):
            call(number)
        took.append(time.perf_counter() - begin)
    return min(took) / seconds


def test_1000_calls_of_progress_in_a_step_cost_under_5_percent():
    @workflow("cheap", on="test/cheap")
    def cheap(ctx, step):
        def work():
            return cost(lambda number: ctx.progress(current_step="write", done=number, total=1000, message="Writing"))

        return step.run("work", work)

    assert run_workflow(cheap, {}).output < 0.05
