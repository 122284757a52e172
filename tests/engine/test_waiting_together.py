"""Many events, many waits, and what stands in the way of one of them."""

# ruff: noqa: F811  (a fixture of another module, by its name)

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from app.db import db
from app.engine import CancelOn, Debounce, advance, get_run, list_runs, list_waits, send, upkeep, workflow
from app.engine import waits as engine_waits
from app.engine.runtime import runtime
from app.engine.testing import clock, drain, sent_events
from tests.engine.test_waiting import outcome, say, start, wait  # noqa: F401  (a fixture)


def test_events_that_come_together_end_one_wait_of_a_run_each():
    @workflow("pair", on="test/wait")
    def pair(ctx, step):
        return sorted(step.map("both", lambda s, _: s.wait_for_event("w", "a/b", timeout="3d").data["n"], [0, 1]))

    say("test/wait")
    drain()
    for number in (1, 2):  # in one transaction, so that one look finds both: each first for the older wait
        send("a/b", {"n": number}, owner_id=None)
    db.session.commit()
    assert outcome(list_runs(workflow="pair")[0].id) == ("completed", [1, 2])


def test_an_event_from_before_since_does_not_count_though_since_is_yet_to_come():
    @workflow("later", on="test/wait")
    def later(ctx, step):
        event = step.wait_for_event("w", "a/b", timeout="3d", since=ctx.now() + timedelta(hours=1))
        return event.data

    say("test/wait")
    drain()
    run_id = list_runs(workflow="later")[0].id
    say("a/b", {"n": 1})
    assert outcome(run_id)[0] == "waiting"
    clock.advance(3601)
    say("a/b", {"n": 2})
    assert outcome(run_id) == ("completed", {"n": 2})


def test_a_run_to_cancel_that_is_locked_keeps_neither_senders_nor_upkeep_nor_other_runs(wait, monkeypatch):
    @workflow("ends", on="test/ends", cancel_on=[CancelOn("course/approved")])
    def ends(ctx, step):
        step.sleep("long", "1h")

    monkeypatch.setattr(engine_waits, "SETTLED_SECONDS", 0.0)
    say("test/ends")
    run_id = start({"course_id": 7})
    ending = list_runs(workflow="ends")[0].id
    with db.engine.connect() as frozen:
        frozen.exec_driver_sql("SELECT FROM run WHERE id = %s FOR UPDATE", (ending,))
        began = time.monotonic()
        say("course/approved", {"course_id": 7})
        upkeep.run_pass()
        assert time.monotonic() - began < 4  # each look gives up after 0.3 s, not after 8
        assert outcome(run_id)[0] == "completed"
    drain()
    assert get_run(ending).status == "cancelled"


def test_a_waiting_run_that_is_locked_keeps_neither_senders_nor_other_runs(wait):
    locked, free = start({"course_id": 7}), start({"course_id": 7})
    with db.engine.connect() as frozen:
        frozen.exec_driver_sql("SELECT FROM run WHERE id = %s FOR UPDATE", (locked,))
        began = time.monotonic()
        say("course/approved", {"course_id": 7})
        assert time.monotonic() - began < 4  # it gives up after 0.3 s, not after 8
        assert outcome(free)[0] == "completed"
    clock.advance(1)
    assert outcome(locked)[0] == "completed"


def test_a_run_whose_condition_fails_and_that_is_locked_keeps_nobody_and_fails_later(wait, monkeypatch):
    @workflow("odd", on="test/odd")
    def odd(ctx, step):
        step.wait_for_event("w", "course/approved", if_="arriving.data.course_id < 'x'", timeout="3d")

    monkeypatch.setattr(engine_waits, "SETTLED_SECONDS", 0.0)
    say("test/odd")
    free = start({"course_id": 7})
    [locked] = list_runs(workflow="odd")
    with db.engine.connect() as frozen:
        frozen.exec_driver_sql("SELECT FROM run WHERE id = %s FOR UPDATE", (locked.id,))
        began = time.monotonic()
        say("course/approved", {"course_id": 7})
        assert outcome(free)[0] == "completed"  # by upkeep: the sender's quarter of a second was over
        assert time.monotonic() - began < 4  # each look gives up after 0.3 s, not after 8
        assert get_run(locked.id).status == "waiting"
    assert outcome(locked.id)[0] == "failed"


def test_a_sender_looks_for_waits_a_quarter_of_a_second_long_and_leaves_the_others_to_upkeep(wait, monkeypatch):
    run_id = start({"course_id": 7})
    monkeypatch.setattr(runtime(), "look_for_waits", lambda ids: engine_waits.look_for_waits(ids, seconds=0.0))
    say("course/approved", {"course_id": 7})
    assert outcome(run_id)[0] == "waiting"
    clock.advance(1)
    assert outcome(run_id)[0] == "completed"


def say_and_die(monkeypatch, name, data=None):
    with monkeypatch.context() as patch:
        patch.setattr(runtime(), "look_for_waits", lambda _events: None)
        say(name, data)


def test_an_event_whose_sender_died_before_its_look_goes_before_a_later_one(wait, monkeypatch):
    run_id = start({"course_id": 7})
    say_and_die(monkeypatch, "course/approved", {"course_id": 8})
    say_and_die(monkeypatch, "course/approved", {"course_id": 7, "n": 1})
    say("course/approved", {"course_id": 7, "n": 2})
    assert outcome(run_id) == ("completed", {"course_id": 7, "n": 1})


def test_an_older_event_of_another_name_that_the_wait_is_for_goes_first_too(monkeypatch):
    @workflow("either", on="test/either")
    def either(ctx, step):
        found = [step.wait_for_event("any", ["course/refused", "course/approved"], timeout="1h") for _ in range(2)]
        return [event.name for event in found]

    say("test/either")
    drain()
    say_and_die(monkeypatch, "course/refused")
    say("course/approved")
    drain()
    assert list_runs(workflow="either")[0].output == ["course/refused", "course/approved"]


def test_an_older_event_that_a_wait_has_not_looked_back_at_goes_before_a_later_one(wait, monkeypatch):
    """The worker died after it had registered the wait; the event before that has long been matched."""
    say("test/wait", {"course_id": 7})
    say("course/approved", {"course_id": 7, "n": 1})
    with monkeypatch.context() as patch:
        patch.setattr(engine_waits, "look_back", lambda *_: None)
        run, claimed_at = advance.claim_batch("doomed", 1)[0]
        assert advance.advance(run, claimed_at) == "waiting"
    say("course/approved", {"course_id": 7, "n": 2})
    assert outcome(run.id) == ("completed", {"course_id": 7, "n": 1})


def test_a_wait_that_a_debounce_puts_in_place_of_another_during_its_look_is_looked_at_itself(monkeypatch, execute):
    @workflow("late", on="test/late", debounce=Debounce("1h"), cancel_on=[CancelOn("test/stop", match="data.n")])
    def late(ctx, step):
        pass

    say("test/late", {"n": 1})
    rows_of = engine_waits.rows_of

    def replaced(*args):
        found = rows_of(*args)
        say("test/late", {"n": 2})
        say_and_die(monkeypatch, "test/stop", {"n": 2})
        return found

    [run] = list_runs(workflow="late")
    with monkeypatch.context() as patch, runtime().pool.connection() as connection:
        patch.setattr(engine_waits, "rows_of", replaced)
        engine_waits.look_back(connection, run.id, "cancel:0")
    execute("UPDATE event SET matched_at = engine_now()")  # its own look found the wait of the first event only
    drain()
    assert get_run(run.id).status == "cancelled"


def test_an_event_that_came_in_time_and_was_looked_at_by_nobody_counts_at_the_timeout(wait, monkeypatch):
    run_id = start({"course_id": 7})
    say_and_die(monkeypatch, "course/approved", {"course_id": 7})
    with monkeypatch.context() as patch:  # upkeep wakes the run, and gets no further
        patch.setattr(engine_waits, "look_for_forgotten", lambda _: None)
        clock.advance(3 * 86_400 + 1)
        assert outcome(run_id) == ("completed", {"course_id": 7})


def test_a_timeout_ends_only_a_wait_that_is_open_and_whose_time_has_come(wait, execute):
    run_id = start({"course_id": 7})

    def time_out():
        execute(
            engine_waits.TIME_OUT.replace("%(run_id)s", ":run_id").replace("%(key)s", ":key"),
            run_id=run_id,
            key="approval",
        )
        return [each.status for each in list_waits(run_id)]

    assert time_out() == ["open"]
    say("course/approved", {"course_id": 7})
    clock.advance(3 * 86_400 + 1)
    assert time_out() == ["matched"]


def test_a_condition_that_fails_spoils_no_wait_that_another_event_has_just_ended(monkeypatch, execute):
    @workflow("priced", on="test/priced")
    def priced(ctx, step):
        return step.wait_for_event("offer", "test/offer", if_="arriving.data.price < 10", timeout="1h").data

    say("test/priced")
    drain()
    [run] = list_runs(workflow="priced")
    say_and_die(monkeypatch, "test/offer", {"price": 9})
    say_and_die(monkeypatch, "test/offer", {"cost": 1})
    evaluate, met = engine_waits.expressions.evaluate, []

    def overtaken(condition, names):
        met.append(names["arriving"]["data"])
        if "cost" in met[-1]:
            monkeypatch.undo()
            with runtime().pool.connection() as other:
                engine_waits.look_back(other, run.id, "offer")
        return evaluate(condition, names)

    monkeypatch.setattr(engine_waits.expressions, "evaluate", overtaken)
    monkeypatch.setattr(engine_waits, "_behind", lambda *_: ())  # it looks at its own event first
    [bad] = execute("SELECT id FROM event WHERE data ->> 'cost' = '1'").scalars()
    engine_waits.look_for_waits([bad])
    drain()
    assert met == [{"cost": 1}]
    assert list_runs(workflow="priced")[0].output == {"price": 9}


@pytest.mark.parametrize("somebody_waits", [False, True])
def test_the_time_of_an_events_look_is_that_of_the_first_one(wait, execute, somebody_waits):
    if somebody_waits:
        start({"course_id": 7})
    event_id = say("course/approved", {"course_id": 8})
    first = execute("SELECT matched_at FROM event WHERE id = :id", id=event_id).scalar()
    clock.advance(60)
    engine_waits.look_for_waits([event_id])
    assert execute("SELECT matched_at FROM event WHERE id = :id", id=event_id).scalar() == first


def test_an_event_that_would_have_cancelled_a_run_that_is_dead_by_now_changes_nothing(execute):
    """A dead run keeps its waits, as it may be resumed."""

    @workflow("cursed", on="test/cursed", cancel_on=[CancelOn("test/stop")])
    def cursed(ctx, step):
        raise AssertionError

    say("test/cursed")
    for _ in range(6):
        assert len(advance.claim_batch("doomed", 1)) == 1
        clock.advance(31)
        upkeep.run_pass()
    say("test/stop")
    drain()
    assert list_runs(workflow="cursed")[0].status == "dead"
    assert sent_events("run/cancelled") == []
