"""Steps that are used as nobody should: refused in words, before they take effect or spoil anything."""

from __future__ import annotations

import contextlib
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from app.db import db
from app.engine import advance, get_run, list_runs, list_steps, send, workflow
from app.engine import steps as verbs
from app.engine.runtime import runtime
from app.engine.testing import clock, drain, run_workflow
from app.lib.outside import before_outside_call

WEST = timezone(timedelta(hours=-12))


def start():
    send("test/w", {}, owner_id=None)
    db.session.commit()


def in_a_thread(function, *args):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *args).result()


def refusal(work):
    """Return with which words a run of the body `work(ctx, step)` fails."""

    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        work(ctx, step)

    run = run_workflow(w, {})
    assert run.status == "failed"
    return run.error["message"]


# --- what a verb may be called with ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "advice"),
    [
        (lambda s: s.run("", int), "load-page"),
        (lambda s: s.run(5, int), "load-page"),
        (lambda s: s.run(["a"], int), "load-page"),
        (lambda s: s.run("a[0]/b", int), "load-page"),
        (lambda s: s.parallel("p", {"": int}), "load-page"),
        (lambda s: s.run("a", 0), "the function itself"),
        (lambda s: s.transaction("a", None), "the function itself"),
        (lambda s: s.run("a", int, retries=50), "from 0 to 20"),
        (lambda s: s.run("a", int, retries=-1), "from 0 to 20"),
        (lambda s: s.run("a", int, retries=1.0), "from 0 to 20"),
        (lambda s: s.transaction("a", int, retries=float("nan")), "from 0 to 20"),
        (lambda s: s.run("a", int, retries="2"), "from 0 to 20"),
        (lambda s: s.run("a", int, timeout=0), "longer than 0"),
        (lambda s: s.transaction("a", int, timeout="0s"), "longer than 0"),
        (lambda s: s.map("m", print, [1], limit=0), "at least 1"),
        (lambda s: s.map("m", print, [1], limit=1.5), "at least 1"),
        (lambda s: s.map("m", print, "text"), "a list of items"),
        (lambda s: s.map("m", print, {"a": 1}), "a list of items"),
        (lambda s: s.map("m", print, {"a", "b"}), "a list of items"),
        (lambda s: s.map("m", print, 3), "a list of items"),
        (lambda s: s.map("m", [1], print), "step.map(id, function, items)"),
        (lambda s: s.parallel("p", [print]), "step.parallel(id, {name: function})"),
        (lambda s: s.parallel("p", {"a": 1}), "step.parallel(id, {name: function})"),
        (lambda s: s.sleep_until("z", "2030-01-01T00:00:00Z"), "a datetime with a time zone"),
        (lambda s: s.sleep_until("z", date(2030, 1, 1)), "a datetime with a time zone"),
        (lambda s: s.wait_for_event("w", [], timeout="1h"), "like video/uploaded"),
        (lambda s: s.wait_for_event("w", None, timeout="1h"), "like video/uploaded"),
        (lambda s: s.wait_for_event("w", [5], timeout="1h"), "like video/uploaded"),
        (lambda s: s.wait_for_event("w", "A B", timeout="1h"), "like video/uploaded"),
        (lambda s: s.wait_for_event("w", "a/*", timeout="1h"), "like video/uploaded"),
        (lambda s: s.wait_for_event("w", ["a/b", ""], timeout="1h"), "like video/uploaded"),
        (lambda s: s.wait_for_event("w", "a/b", timeout="1h", since=datetime(2030, 1, 1)), "with a time zone"),  # noqa: DTZ001
        (lambda s: s.wait_for_event("w", "a/b", timeout="1h", since="2030"), "with a time zone"),
    ],
)
def test_what_a_verb_cannot_be_called_with_is_refused_in_words_that_say_what_to_do(verb, advice):
    assert advice in refusal(lambda _ctx, step: verb(step))


def test_a_run_may_wait_for_the_endings_of_runs():
    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        step.wait_for_event("end", "run/completed", timeout="1h")

    assert run_workflow(w, {}).status == "completed"


@pytest.mark.parametrize("when", [datetime.max.replace(tzinfo=WEST), datetime.max.replace(tzinfo=UTC)])
def test_a_sleep_into_the_year_10000_leaves_the_lists_readable(when):
    assert "a datetime with a time zone" in refusal(lambda _ctx, step: step.sleep_until("doomsday", when))
    assert list_runs()


def test_a_step_inside_a_step_is_refused_and_says_where_it_belongs():
    told = refusal(lambda _ctx, step: step.run("outer", step.run, "inner", int))
    assert told == "Step 'inner' is inside of 'outer'; steps do not nest: return from that one first."


# --- keys ------------------------------------------------------------------------------------------------------------


def test_two_steps_never_share_a_key():
    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        return [step.run(key, lambda number=number: number) for number, key in enumerate(("page", "page", "page:1"))]

    run = run_workflow(w, {})
    assert run.status == "failed" or run.output == [0, 1, 2]


def test_two_branches_never_share_a_key():
    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        return list(step.parallel("p", {1: lambda s: s.run("a", int, 1), "1": lambda s: s.run("a", int, 2)}).values())

    run = run_workflow(w, {})
    assert run.status == "failed" or run.output == [1, 2]


def test_the_timing_of_threads_changes_no_key_also_where_a_branch_uses_the_step_of_its_body():
    second_is_done = threading.Event()

    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        def branch(_s, number):
            if number == 0:
                second_is_done.wait(5)
            step.run("write", int, number)
            second_is_done.set()

        step.map("chapter", branch, [0, 1])

    run = run_workflow(w, {})
    assert run.status == "failed" or {found.key: found.output for found in list_steps(run.id)} == {
        "write": 0,
        "write:1": 1,
    }


@pytest.mark.parametrize("key", ["a\x00b", "a\ud800b"])
def test_an_id_that_the_database_cannot_hold_is_refused_before_the_step_takes_effect(key):
    effects = []

    @workflow("w", on="test/w", retries=1)
    def w(ctx, step):
        step.run(key, effects.append, 1)

    assert run_workflow(w, {}).status == "failed"
    assert effects == []  # they are two


@pytest.mark.parametrize("limit", [1, 2])
def test_a_branch_that_uses_the_step_of_its_body_is_told_of_its_own(limit):
    told = refusal(lambda _ctx, step: step.map("m", lambda _s, n: step.run("a", int, n), [1, 2], limit=limit))
    assert "a branch uses its own `s`" in told


def test_a_step_that_is_used_in_a_thread_of_the_bodys_own_is_refused_also_with_its_context():
    told = refusal(lambda _ctx, step: in_a_thread(contextvars.copy_context().run, step.run, "a", int))
    assert "threads of yours have no steps" in told


def test_a_step_that_a_thread_has_kept_takes_no_effect_when_its_body_has_ended():
    kept, effects = [], []

    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        step.map("branch", lambda s, _item: kept.append(s), [1])
        kept.append(step)

    run_workflow(w, {})
    for step in kept:
        with pytest.raises(Exception, match="is elsewhere"):
            step.run("late", effects.append, 1)
    assert effects == []


@pytest.mark.parametrize("is_branching", [False, True])
def test_the_place_of_the_body_never_goes_back(monkeypatch, is_branching):
    """Of steps that come in another order than they were remembered in, each of them is told of."""
    warned, codes = [], [["a", "b", "c"], ["c", "a", "b"], ["c", "a", "b"]]
    monkeypatch.setattr(verbs.logger, "warning", lambda _event, step=None, **_: warned.append(step), raising=False)

    @workflow("w", on="test/w", backoff=(1,))
    def w(ctx, step):
        for name in codes[0] if len(codes) == 1 else codes.pop(0):
            if name == "a" and is_branching:
                step.map("a", lambda s, _item: s.run("piece", int), [1])
            else:
                step.run(name, int)
        step.run("fail-once", lambda: 1 / (ctx.attempt - 1))

    run_workflow(w, {})
    assert [name for name in warned if name in ("a", "b")] == (["b"] if is_branching else ["a", "b"])


# --- interrupts and branches -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["body", "branch"])
def test_an_error_that_is_raised_while_a_park_unwinds_does_not_take_its_place(where):
    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        def nap(s, _item=None):
            try:
                s.sleep("nap", "1m")
            except BaseException as error:
                raise RuntimeError("A clean-up failed.") from error

        nap(step) if where == "body" else step.map("naps", nap, [1, 2])

    assert run_workflow(w, {}).status == "completed"


def test_a_deploy_fails_no_run_whose_clean_up_raises_while_it_is_given_back(monkeypatch):
    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        try:
            step.run("a", monkeypatch.setattr, runtime(), "is_draining", True)
            step.run("b", int)
        except BaseException as error:
            raise RuntimeError("A clean-up failed.") from error

    start()
    [(run, claimed_at)] = advance.claim_batch("mine", 1)
    assert advance.advance(run, claimed_at) == "queued"


def test_what_a_branch_raises_while_it_is_given_back_does_not_take_its_place(monkeypatch):
    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        def branch(s, _item):
            try:
                s.run("a", monkeypatch.setattr, runtime(), "is_draining", True)
                s.run("b", int)
            finally:
                raise RuntimeError("A clean-up failed.")

        step.map("branch", branch, [1])

    start()
    [(run, claimed_at)] = advance.claim_batch("mine", 1)
    assert advance.advance(run, claimed_at) == "queued"


def test_a_parked_run_goes_on_when_the_first_of_its_branches_is_due():
    done = []

    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        def branch(s, hours):
            s.sleep("nap", timedelta(hours=hours))
            s.run("work", done.append, hours)

        step.map("branch", branch, [3, 1, 2])

    start()
    drain()
    [run] = list_runs()
    assert get_run(run.id).due_at - run.created_at < timedelta(hours=1, minutes=1)
    drain(advance=True)
    assert done == [1, 2, 3]


# --- another kind of step --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["caught", "map"])
def test_another_kind_of_step_under_a_key_fails_the_run_whatever_the_body_catches(verb):
    is_changed = []

    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        if not is_changed:
            step.run("work", int)
        elif verb == "map":
            step.map("work", lambda s, n: s.run("piece", int, n), [1])
        else:
            with contextlib.suppress(Exception):
                step.transaction("work", lambda _session: 1)
        step.sleep("nap", "1m")

    start()
    drain()
    is_changed.append(1)
    drain(advance=True)
    assert list_runs()[0].status == "failed"


@pytest.mark.parametrize("is_sleeping", [False, True])
def test_a_step_in_the_place_of_branches_fails_the_run_whatever_its_other_branches_do(is_sleeping):
    is_changed = []

    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        def work(s):
            if is_changed:
                s.run("pieces", int)
            s.map("pieces", lambda t, n: t.run("piece", int, n), [1])
            s.sleep("nap", "1m")

        others = {"others": lambda s: s.sleep("long", "30d")} if is_sleeping else {}
        step.parallel("both", {**others, "work": work})

    start()
    drain()
    is_changed.append(1)
    clock.advance(61)
    drain()
    [run] = list_runs()
    assert (run.status, run.error["class"]) == ("failed", "StepKindChanged")


# --- threads of a step's own -----------------------------------------------------------------------------------------


def test_calls_outside_are_forbidden_in_a_transaction_also_from_its_threads():
    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        step.transaction("work", lambda _session: in_a_thread(before_outside_call))

    assert run_workflow(w, {}).status == "failed"


def test_meta_counts_exactly_once_also_from_a_thread_of_a_step():
    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        step.run("work", in_a_thread, ctx.meta.increment, "done")
        step.sleep("nap", "1m")

    run = run_workflow(w, {})
    assert run.status == "failed" or run.meta == {"done": 1}  # gone after the nap


def test_the_keys_of_two_steps_are_two_also_in_their_threads():
    keys = []

    @workflow("w", on="test/w", retries=0)
    def w(ctx, step):
        for name in ("a", "b"):
            step.run(name, lambda: keys.append(in_a_thread(lambda: ctx.key)))

    assert run_workflow(w, {}).status == "failed" or keys[0] != keys[1]


@pytest.mark.parametrize(
    "look",
    [
        lambda ctx: ctx.key,
        lambda ctx: ctx.attempt,
        lambda ctx: ctx.now(),
        lambda ctx: ctx.meta.set("a", 1),
        lambda _ctx: before_outside_call(),
    ],
)
def test_a_thread_that_does_not_know_its_step_is_told_how_to(look):
    assert "contextvars.copy_context().run" in refusal(lambda ctx, step: step.run("work", in_a_thread, look, ctx))


def test_threads_in_a_copy_of_their_steps_context_belong_to_it():
    seen = []

    @workflow("w", on="test/w", retries=1)
    def w(ctx, step):
        def look():
            before_outside_call()
            ctx.meta.increment("looks")
            seen.append((ctx.key, ctx.attempt))
            return 1 / (ctx.attempt - 1)

        step.run("work", lambda: in_a_thread(contextvars.copy_context().run, look))
        step.transaction("save", lambda _session: in_a_thread(contextvars.copy_context().run, before_outside_call))

    run = run_workflow(w, {})
    assert (run.meta, seen) == ({"looks": 1}, [(f"{run.id}/work", 1), (f"{run.id}/work", 2)])
    assert "make the outside call in a step before it" in run.error["message"]


def test_other_threads_may_call_outside_while_no_run_is_executed():
    in_a_thread(before_outside_call)
