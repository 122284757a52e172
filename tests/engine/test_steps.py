"""Steps are remembered, retried and given up as promised."""

from __future__ import annotations

import threading

import flask
import pytest
import structlog

from app.accounts.models import User
from app.db import db
from app.engine import (
    Concurrency,
    NonRetriable,
    RetryAfter,
    StepError,
    list_runs,
    list_steps,
    send,
    workflow,
)
from app.engine import memory as memories
from app.engine import steps as verbs
from app.engine.runtime import runtime
from app.engine.testing import crash_after, drain, run_workflow
from app.errors import Busy
from app.lib.ids import new_id


def test_a_workflow_runs_its_steps_and_returns_a_result():
    @workflow("greet", on="test/greet")
    def greet(ctx, step):
        name = step.run("name", ctx.event.data["name"].title)
        return {"greeting": f"Hello {name}"}

    run = run_workflow(greet, {"name": "ada"})
    assert (run.status, run.output) == ("completed", {"greeting": "Hello Ada"})


def test_a_remembered_step_is_not_repeated_after_a_crash():
    calls = []

    @workflow("count", on="test/count")
    def count(ctx, step):
        step.run("first", calls.append, 1)
        step.run("second", calls.append, 2)

    send("test/count", {}, owner_id=None)
    with crash_after("first"):
        drain()
    assert calls == [1]
    drain(advance=True)
    assert calls == [1, 2]
    assert list_runs(workflow="count")[0].status == "completed"


def test_none_is_remembered():
    calls = []

    @workflow("nothing", on="test/nothing")
    def nothing(ctx, step):
        assert step.run("nothing", lambda: calls.append(1)) is None
        step.run("fail-once", lambda: 1 / (ctx.attempt - 1))

    run = run_workflow(nothing, {})
    assert run.status == "completed"
    assert calls == [1]


def test_map_branches_have_paths_for_keys():
    @workflow("sections", on="test/sections")
    def sections(ctx, step):
        return step.map("section", lambda s, n: [s.run("piece", int, n), s.run("piece", int, n * 10)], [1, 2, 3])

    run = run_workflow(sections, {})
    assert run.output == [[1, 10], [2, 20], [3, 30]]
    assert [step.key for step in list_steps(run.id)] == [
        f"section[{n}]/{name}" for n in range(3) for name in ("piece", "piece:1")
    ]


def test_parallel_returns_results_by_name():
    @workflow("art", on="test/art")
    def art(ctx, step):
        return step.parallel("art", {"quiz": lambda s: s.run("a", lambda: 1), "cover": lambda s: s.run("a", lambda: 2)})

    assert run_workflow(art, {}).output == {"quiz": 1, "cover": 2}


def test_a_transaction_step_commits_rows_and_memo_together():
    @workflow("save", on="test/save")
    def save(ctx, step):
        def add(session):
            session.add(User(id=new_id(), email="made@example.org"))

        step.transaction("add", add)

    assert run_workflow(save, {}).status == "completed"
    assert db.session.query(User).filter_by(email="made@example.org").count() == 1


def test_a_step_is_retried_and_then_fails_the_run():
    calls = []

    @workflow("broken", on="test/broken", retries=2)
    def broken(ctx, step):
        step.run("break", lambda: calls.append(ctx.attempt) or 1 / 0)

    run = run_workflow(broken, {})
    assert run.status == "failed"
    assert calls == [1, 2, 3]
    assert run.error["class"] == "ZeroDivisionError"


def test_non_retriable_fails_at_once():
    calls = []

    @workflow("stop", on="test/stop")
    def stop(ctx, step):
        def fail():
            calls.append(1)
            raise NonRetriable("no")

        step.run("fail", fail)

    assert run_workflow(stop, {}).status == "failed"
    assert calls == [1]


def test_retry_after_costs_no_attempt():
    attempts = []

    @workflow("later", on="test/later", retries=0)
    def later(ctx, step):
        def wait():
            attempts.append(ctx.attempt)
            if len(attempts) < 3:
                raise RetryAfter(60)

        step.run("wait", wait)

    assert run_workflow(later, {}).status == "completed"
    assert attempts == [1, 1, 1]


def test_a_shared_limiters_refusal_costs_no_attempt_and_is_no_error():
    attempts = []

    @workflow("take-turn", on="test/take-turn", retries=0)
    def take_turn(ctx, step):
        def wait():
            attempts.append(ctx.attempt)
            if len(attempts) < 3:
                raise Busy("It is somebody else's turn.", 5)

        step.run("wait", wait)

    run = run_workflow(take_turn, {})
    assert run.status == "completed"
    assert attempts == [1, 1, 1]
    assert not (run.progress or {}).get("errors")


def test_a_caught_step_error_lets_the_run_go_on():
    @workflow("catch", on="test/catch", retries=0)
    def catch(ctx, step):
        try:
            step.run("break", lambda: 1 / 0)
        except StepError as error:
            return error.error["class"]

    assert run_workflow(catch, {}).output == "ZeroDivisionError"


def test_on_failure_runs_once_as_a_run_of_its_own():
    seen = []

    def clean_up(ctx, outcome):
        seen.append((outcome.workflow, outcome.status, outcome.error["class"], outcome.event.data["x"]))

    @workflow("fails", on="test/fails", retries=0, subject="thing:{event.data.x}", on_failure=clean_up)
    def fails(ctx, step):
        step.run("break", lambda: 1 / 0)

    run_workflow(fails, {"x": 7})
    assert seen == [("fails", "failed", "ZeroDivisionError", 7)]
    hook = list_runs(workflow="fails-failed")[0]
    assert (hook.status, hook.subject) == ("completed", "thing:7")


def test_send_in_a_rolled_back_transaction_means_nothing():
    @workflow("never", on="test/never")
    def never(ctx, step):
        raise AssertionError

    send("test/never", {}, owner_id=None)
    db.session.rollback()
    db.session.commit()
    assert list_runs() == []


@pytest.mark.parametrize("value", [{1, 2}, float("nan"), object()])
def test_a_result_that_is_not_json_is_a_typed_error_naming_the_step(value):
    @workflow("odd", on="test/odd")
    def odd(ctx, step):
        step.run("give", lambda: value)

    run = run_workflow(odd, {})
    assert (run.status, run.error["class"]) == ("failed", "NotJson")
    assert "'give'" in run.error["message"]


def test_the_first_pass_sees_a_pair_of_surrogates_as_each_later_one():
    seen = []

    @workflow("pair", on="test/pair")
    def pair(ctx, step):
        seen.append(step.run("give", lambda: "\ud83d\ude00"))
        step.sleep("nap", "1m")

    run_workflow(pair, {})
    assert seen == ["\N{GRINNING FACE}"] * 2


def test_each_try_has_a_session_of_its_own_also_in_the_threads_of_branches():
    sessions, both = [], threading.Barrier(2)

    @workflow("apart", on="test/apart", backoff=(1,))
    def apart(ctx, step):
        def look(number):
            sessions.append(db.session())
            both.wait(10)  # they are in two threads at once
            return 1 / (ctx.attempt - number)

        step.map("part", lambda s, n: s.run("look", look, n), [0, 1], limit=2)

    db.session.commit()
    send("test/apart", {}, owner_id=None)
    assert drain() == [("apart", "waiting")]
    assert len({id(session) for session in sessions}) == 2
    assert not any(session.in_transaction() for session in sessions)


def test_a_step_that_was_reordered_uses_its_memo_with_a_warning(monkeypatch):
    codes = [["a", "b"], ["b", "a"]]
    ran = []

    @workflow("sorted", on="test/sorted", backoff=(1,))
    def resorted(ctx, step):
        for name in codes.pop(0):
            step.run(name, ran.append, name)
        step.run("fail-once", lambda: 1 / (ctx.attempt - 1))

    log = structlog.testing.CapturingLogger()
    monkeypatch.setattr(verbs, "logger", log)
    assert run_workflow(resorted, {}).status == "completed"
    assert ran == ["a", "b"]
    assert [(call.args, call.kwargs["step"]) for call in log.calls] == [(("step.reordered",), "a")]


def test_a_run_with_many_steps_is_warned_about_once(monkeypatch):
    monkeypatch.setattr(memories, "MANY_STEPS", 3)

    @workflow("many", on="test/many")
    def many(ctx, step):
        for _ in range(5):
            step.run("one", int)

    log = structlog.testing.CapturingLogger()
    monkeypatch.setattr(memories, "logger", log)
    run_workflow(many, {})
    assert [call.args for call in log.calls] == [("run.many_steps",)]


def test_no_step_is_repeated_because_a_connection_had_a_rollback_before():
    effects = []

    @workflow("plain", on="test/plain")
    def plain(ctx, step):
        step.run("pay", lambda: effects.append(1))

    def one():
        send("test/plain", {}, owner_id=None)
        return drain()

    one()
    with runtime().pool.connection() as connection, connection.transaction(force_rollback=True):
        connection.execute("SELECT 1")
    assert one() == [("plain", "completed")]
    assert len(effects) == 2


def test_a_step_key_that_no_index_can_hold_is_a_typed_error(monkeypatch):
    """PostgreSQL's refusal is an OperationalError: the checkpoint was repeated for ever, as if the database were away."""
    odd = "".join(chr(192 + (number * number + number) % 89) for number in range(9000))

    @workflow("long", on="test/long")
    def long(ctx, step):
        step.run(odd, lambda: 1)

    send("test/long", {}, owner_id=None)
    assert drain() == [("long", "failed")]
    assert "over 500 characters" in list_runs()[0].error["message"]


def test_the_longest_step_key_can_be_remembered_waited_under_and_tried_again():
    import secrets

    key = "".join(chr(0x10000 + secrets.randbelow(0x5000)) for _ in range(verbs.MAX_KEY))

    @workflow("wide", on="test/wide", retries=0)
    def wide(ctx, step):
        with pytest.raises(StepError):
            step.run(key[:-1], lambda: 1 / 0)
        step.wait_for_event(key, "a/" + "b" * 254, timeout="1d")

    send("test/wide", {}, owner_id=None)
    assert drain() == [("wide", "waiting")]


def test_a_step_has_five_attempts_by_default_and_the_pauses_of_the_table_and_no_pause_after_the_last():
    @workflow("usual", on="test/usual")
    def usual(ctx, step):
        step.run("break", lambda: 1 / 0)

    run = run_workflow(usual, {})
    assert run.status == "failed"
    [step] = list_steps(run.id)
    pauses = [each["retry_at"] and (each["retry_at"] - each["finished_at"]).total_seconds() for each in step.attempts]
    assert len(pauses) == 5
    assert pauses[-1] is None
    for pause, wanted in zip(pauses, (15, 30, 60, 120), strict=False):
        assert 0.8 * wanted <= pause <= 1.2 * wanted


def test_each_try_has_an_app_context_of_its_own_also_in_the_threads_of_branches():
    seen, both = [], threading.Barrier(2)

    @workflow("apart", on="test/apart", retries=1, backoff=(1,))
    def apart(ctx, step):
        def look():
            seen.append(("said" in flask.g, threading.get_ident()))
            flask.g.said = True
            return 1 / (ctx.attempt - 1)

        def meet():
            if ctx.attempt == 1:  # the second tries are due at two times
                both.wait(10)  # they are in two threads at once
            return look()

        step.map("part", lambda s, _n: s.run("look", meet), [0, 1], limit=2)
        step.run("look", look, retries=1)

    run_workflow(apart, {})
    assert len(seen) == 6
    assert not any(is_said for is_said, _ in seen)
    assert len({thread for _, thread in seen}) > 1


def test_a_run_that_backs_off_holds_no_slot():
    @workflow("alone", on="test/alone", concurrency=[Concurrency(1)], backoff=(600,))
    def alone(ctx, step):
        step.run("work", lambda: ctx.event.data["is_fine"] or 1 / 0)

    for is_fine in (False, True):
        send("test/alone", {"is_fine": is_fine}, owner_id=None)
    drain()
    assert sorted(run.status for run in list_runs()) == ["completed", "waiting"]


def test_a_with_form_of_a_step_is_impossible_because_its_body_cannot_be_skipped():
    """Why the verbs take functions: what __enter__ raises goes past the block, to whoever stands around it."""

    class Replayed:
        def __enter__(self):
            raise StopIteration

        def __exit__(self, *_):
            return True

    behind = []

    def body():
        with Replayed():
            pass
        behind.append(1)

    with pytest.raises(StopIteration):
        body()
    assert behind == []
