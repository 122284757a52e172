"""What is remembered, how much of it, and what retries cost."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from app.db import db
from app.engine import EngineError, RetryAfter, list_runs, list_steps, send, workflow
from app.engine import memory as memories
from app.engine.execution import backoff, idempotency_key
from app.engine.registry import BACKOFF, registry
from app.engine.runtime import runtime
from app.engine.testing import clock, crash_after, drain, run_workflow
from app.errors import Invalid, NotFound, Permanent, Transient
from app.lib.ids import new_id


def run_returning(value):
    @workflow("give", on="test/give", retries=1, backoff=(1,))
    def give(ctx, step):
        first = step.run("give", lambda: value)
        step.run("fail-once", lambda: 1 / (ctx.attempt - 1))
        return [first == value, type(first).__name__]

    return run_workflow(give, {})


@pytest.mark.parametrize("value", [None, 0, "", [], {}, "\x00\ud800", [1, 2.5, {"a": None}], 10**30, True])
def test_any_json_value_is_remembered_as_it_is(value):
    assert run_returning(value).output == [True, type(value).__name__]


def test_the_first_pass_sees_what_a_replay_will_see():
    seen = []

    @workflow("tuple", on="test/tuple", backoff=(1,))
    def pair(ctx, step):
        seen.append(step.run("pair", lambda: (1, {2: "two"})))
        step.run("fail-once", lambda: 1 / (ctx.attempt - 1))

    run_workflow(pair, {})
    assert seen == [[1, {"2": "two"}]] * 2


def test_a_result_over_256_kib_goes_to_a_blob_and_comes_back():
    big = "x" * 300_000

    @workflow("big", on="test/big", backoff=(1,))
    def large(ctx, step):
        text = step.run("big", lambda: big)
        step.run("fail-once", lambda: 1 / (ctx.attempt - 1))
        return len(text)

    run = run_workflow(large, {})
    assert run.output == 300_000
    with db.engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM blob")) == 1
        assert connection.scalar(sa.text("SELECT output IS NULL FROM step WHERE key = 'big'"))
    assert list_steps(run.id)[0].output == big


def test_a_result_over_4_mb_is_a_typed_error_naming_the_step():
    @workflow("huge", on="test/huge")
    def huge(ctx, step):
        step.run("too-much", lambda: "x" * 5_000_000)

    run = run_workflow(huge, {})
    assert (run.status, run.error["class"]) == ("failed", "LimitExceeded")
    assert "'too-much'" in run.error["message"]


def test_a_runs_memos_have_a_limit_in_all(monkeypatch):
    monkeypatch.setattr(memories, "MAX_STATE_BYTES", 1000)

    @workflow("heap", on="test/heap")
    def heap(ctx, step):
        for number in range(5):
            step.run(f"piece-{number}", lambda: "x" * 300)

    run = run_workflow(heap, {})
    assert (run.error["class"], run.error["step"]) == ("LimitExceeded", "piece-3")


def test_the_number_of_steps_has_a_limit(monkeypatch):
    from app.engine import steps

    monkeypatch.setattr(steps, "MAX_STEPS", 3)

    @workflow("many", on="test/many")
    def many(ctx, step):
        for _ in range(5):
            step.run("one", int)

    assert run_workflow(many, {}).error["class"] == "LimitExceeded"


def test_the_same_key_with_another_kind_of_step_fails_the_run_and_names_it():
    kinds = ["run", "transaction"]

    @workflow("changed", on="test/changed", backoff=(1,))
    def changed(ctx, step):
        if kinds.pop(0) == "run":
            step.run("save", int)
        else:
            step.transaction("save", lambda _session: 1)
        step.run("fail-once", lambda: 1 / (ctx.attempt - 1))

    run = run_workflow(changed, {})
    assert run.error["class"] == "StepKindChanged"
    assert "'save'" in run.error["message"]


def test_changed_code_runs_new_steps_when_met_and_ignores_removed_ones():
    codes = [["a", "b"], ["a", "new", "c"]]
    ran = []

    @workflow("edited", on="test/edited", backoff=(1,))
    def edited(ctx, step):
        for name in codes.pop(0):
            step.run(name, ran.append, name)
        step.run("fail-once", lambda: 1 / (ctx.attempt - 1))

    assert run_workflow(edited, {}).status == "completed"
    assert ran == ["a", "b", "new", "c"]


def test_steps_do_not_nest():
    @workflow("nested", on="test/nested", retries=0)
    def nested(ctx, step):
        step.run("outer", lambda: step.run("inner", int))

    assert "steps do not nest" in run_workflow(nested, {}).error["message"]


def test_send_in_a_body_outside_any_step_is_refused():
    @workflow("sender", on="test/sender", retries=0)
    def sender(ctx, step):
        send("test/other", {}, owner_id=None)

    run = run_workflow(sender, {})
    assert (run.status, run.error["class"]) == ("failed", "EngineError")
    assert "step.send_event" in run.error["message"]


def test_step_send_event_sends_exactly_once_with_the_runs_owner():
    from app.engine.testing import sent_events

    owner = new_id()

    @workflow("sender", on="test/sender")
    def sender(ctx, step):
        return step.send_event("tell", "test/told", {"n": 1})

    send("test/sender", {}, owner_id=owner)
    with crash_after("tell"):
        drain()
    drain(advance=True)
    assert sent_events("test/told") == [{"name": "test/told", "data": {"n": 1}, "owner_id": owner}]


def test_now_and_random_are_remembered():
    seen = []

    @workflow("chance", on="test/chance", backoff=(1,))
    def chance(ctx, step):
        seen.append((ctx.now(), ctx.random(), step.map("m", lambda _s, _n: ctx.random(), [1, 2])))
        step.run("fail-once", lambda: 1 / (ctx.attempt - 1))

    assert run_workflow(chance, {}).status == "completed"
    assert seen[0] == seen[1]
    assert seen[0][0].tzinfo is not None


def test_the_key_of_a_step_is_the_same_on_every_try_and_fits_into_a_header():
    keys = []

    @workflow("keyed", on="test/keyed", backoff=(1,))
    def keyed(ctx, step):
        step.run("pay", lambda: keys.append(ctx.key) or 1 / (ctx.attempt - 1))

    run = run_workflow(keyed, {})
    assert keys == [f"{run.id}/pay"] * 2
    for odd in ("é" * 50, "x" * 500):
        key = idempotency_key(run.id, odd)
        assert key.isascii()
        assert len(key) <= 200


def test_backoff_follows_the_table_with_a_fifth_of_jitter():
    @workflow("table", on="test/table")
    def table(ctx, step):
        pass

    found = registry.by_name["table"]
    assert BACKOFF == (15, 30, 60, 120, 300, 600, 1200, 2400, 3600, 7200)
    for failures in range(1, 15):
        wanted = BACKOFF[min(failures, 10) - 1]
        assert all(0.8 * wanted <= backoff(found, failures) <= 1.2 * wanted for _ in range(20))
    assert len({backoff(found, 1) for _ in range(5)}) > 1


def test_attempts_survive_a_restart_and_nobody_sleeps_after_the_last():
    tries = []

    @workflow("stubborn", on="test/stubborn", retries=2, backoff=(100,))
    def stubborn(ctx, step):
        step.run("try", lambda: tries.append(ctx.attempt) or 1 / 0)

    send("test/stubborn", {}, owner_id=None)
    for expected in (1, 2):
        drain()
        assert len(tries) == expected
        assert list_runs()[0].status == "waiting"
        clock.advance(121)
    drain()
    assert (tries, list_runs()[0].status) == ([1, 2, 3], "failed")
    [step] = list_steps(list_runs()[0].id)
    assert [attempt["number"] for attempt in step.attempts] == [1, 2, 3]
    assert step.attempts[-1]["retry_at"] is None


def test_a_step_may_have_its_own_number_of_retries():
    tries = []

    @workflow("own", on="test/own", retries=4)
    def own(ctx, step):
        step.run("try", lambda: tries.append(1) or 1 / 0, retries=1)

    run_workflow(own, {})
    assert len(tries) == 2


def test_deferrals_end_after_24_hours_in_all():
    deferred = []

    @workflow("deferred", on="test/deferred", retries=0)
    def always(ctx, step):
        def later():
            deferred.append(1)
            raise RetryAfter(5 * 3600)

        step.run("later", later)

    assert run_workflow(always, {}).status == "failed"
    assert len(deferred) == 5  # at 0, 5, 10, 15 and 20 hours; the last one may not wait once more


def test_retry_after_is_bounded():
    assert (RetryAfter(0).seconds, RetryAfter(10**9).seconds) == (1, 86_400)


@pytest.mark.parametrize(
    ("error", "tries"),
    [(Transient("t"), 3), (Permanent("p"), 1), (Invalid("i"), 1), (NotFound(), 1), (OSError("o"), 3)],
)
def test_the_class_of_an_error_decides_about_retries(error, tries):
    made = []

    @workflow("raises", on="test/raises", retries=2)
    def raises(ctx, step):
        def fail():
            made.append(1)
            raise error

        step.run("fail", fail)

    run = run_workflow(raises, {})
    assert len(made) == tries
    assert run.error["message"]


@pytest.mark.parametrize("is_in_step", [True, False])
def test_a_transient_error_waits_as_long_as_the_other_side_said(is_in_step):
    @workflow("told", on="test/told", backoff=(1,))
    def told(ctx, step):
        def fail():
            raise Transient("busy", retry_after=500)

        step.run("fail", fail) if is_in_step else fail()

    send("test/told", {}, owner_id=None)
    drain()
    run = list_runs()[0]
    assert 400 < (run.due_at - run.started_at).total_seconds() < 510


def test_an_error_message_of_any_kind_is_kept():
    @workflow("rude", on="test/rude", retries=0)
    def rude(ctx, step):
        def fail():
            raise ValueError("\x00" + "x" * 10_000)

        step.run("fail", fail)

    assert len(run_workflow(rude, {}).error["message"]) == 2000


def test_arguments_that_are_not_json_are_described():
    @workflow("shown", on="test/shown")
    def shown(ctx, step):
        step.run("work", lambda *_: None, 1, object(), {"a": {1}})
        step.run("long", lambda *_: None, "x" * 100_000)

    run = run_workflow(shown, {})
    assert [step.input for step in list_steps(run.id)] == [
        [1, "<object>", {"a": "<set>"}],
        ["(100004 bytes, not kept)"],
    ]


def test_the_result_of_a_run_must_be_json_too():
    @workflow("odd", on="test/odd")
    def odd(ctx, step):
        return {1, 2}

    assert run_workflow(odd, {}).error["class"] == "NotJson"


def test_progress_has_the_one_shape_and_is_cheap_to_say():
    import time

    @workflow("steady", on="test/steady")
    def steady(ctx, step):
        ctx.progress(current_step="read", message="Reading")

        def work():
            begin = time.perf_counter()
            for number in range(1000):
                ctx.progress(current_step="write", done=number, total=2000, message=f"Writing {number}")
            return time.perf_counter() - begin

        return step.run("work", work)

    run = run_workflow(steady, {})
    assert run.progress["current_step"] == "write"
    assert run.progress["completed_steps"] == ["read"]
    assert run.progress["percent"] == 50.0
    assert run.progress["message"] == "Writing 999"
    assert set(run.progress) == {
        "current_step", "completed_steps", "total_steps", "percent", "eta_seconds", "message", "errors",
    }  # fmt: skip
    assert run.output < 0.5
    assert json.dumps(run.progress)


def test_a_step_that_is_tried_again_does_not_show_as_completed():
    @workflow("again", on="test/again", backoff=(60,))
    def again(ctx, step):
        ctx.progress(current_step="read")
        step.run("read", lambda: None)
        ctx.progress(current_step="write")
        step.run("write", lambda: 1 / (ctx.attempt - 1))

    send("test/again", {}, owner_id=None)
    drain()
    [run] = list_runs()
    assert (run.progress["current_step"], run.progress["completed_steps"]) == ("write", ["read"])
    drain(advance=True)
    [run] = list_runs()
    assert (run.status, run.progress["current_step"]) == ("completed", "write")
    assert run.progress["completed_steps"] == ["read"]


def test_the_engine_refuses_to_work_before_it_is_started(monkeypatch):
    from app.engine import runtime as runtimes

    monkeypatch.setattr(runtimes, "_current", None)
    with pytest.raises(EngineError):
        runtimes.runtime()


def test_each_step_that_ends_is_told_before_the_next_one_begins(app, monkeypatch):
    told, before_second = [], []
    monkeypatch.setattr(runtime(), "announce", told.extend)

    @workflow("told", on="told/go", subject="thing:{event.data.id}")
    def run_told(ctx, step):
        told.clear()
        step.run("first", lambda: 1)
        before_second.extend(told)
        step.run("second", lambda: 2)

    run = run_workflow(run_told, {"id": "x"})
    assert before_second == [f"run:{run.id}", "thing:x"]
