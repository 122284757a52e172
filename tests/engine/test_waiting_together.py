"""Many events, many waits, and what stands in the way of one of them."""

# ruff: noqa: F811  (a fixture of another module, by its name)

from __future__ import annotations

import time
from datetime import timedelta

from app.db import db
from app.engine import CancelOn, get_run, list_runs, send, upkeep, workflow
from app.engine import waits as engine_waits
from app.engine.runtime import runtime
from app.engine.testing import clock, drain
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


def test_a_sender_looks_for_waits_a_quarter_of_a_second_long_and_leaves_the_others_to_upkeep(wait, monkeypatch):
    run_id = start({"course_id": 7})
    monkeypatch.setattr(runtime(), "look_for_waits", lambda ids: engine_waits.look_for_waits(ids, seconds=0.0))
    say("course/approved", {"course_id": 7})
    assert outcome(run_id)[0] == "waiting"
    clock.advance(1)
    assert outcome(run_id)[0] == "completed"
