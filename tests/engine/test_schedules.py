"""Cron: one run per tick, whoever ticks."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from app.db import db
from app.engine import (
    EngineError,
    RegistrationError,
    get_event,
    list_runs,
    list_schedules,
    pause_schedule,
    pause_workflow,
    resume_schedule,
    send,
    trigger_schedule,
    upkeep,
    workflow,
)
from app.engine import schedules as cron
from app.engine.registry import registry
from app.engine.runtime import runtime
from app.engine.testing import clock, drain, isolated_registry, sent_events
from app.lib.cron import next_tick


def schedule(expression, name="nightly", **options):
    @workflow(name, cron=expression, **options)
    def run(ctx, step):
        return ctx.event.data


def to_next(name="nightly"):
    """Go to the moment in which the schedule is due."""
    now = datetime.now(UTC) + timedelta(seconds=clock.offset)
    [found] = [view for view in list_schedules() if view.workflow == name]
    clock.advance((found.next_at - now).total_seconds() + 0.01)
    return found.next_at


def passes():
    upkeep.run_pass()
    db.session.rollback()
    return len(list_runs())


def test_a_tick_starts_one_run_with_the_systems_own_event():
    schedule("0 3 * * *")
    assert passes() == 0
    due_at = to_next()
    assert (due_at.hour, due_at.minute) == (3, 0)
    drain()
    [run] = list_runs()
    assert (run.status, run.owner_id, run.event_name) == ("completed", None, "schedule/due")
    assert run.input == {"workflow": "nightly", "due_at": due_at.isoformat()}
    assert get_event(run.event_id).name == "schedule/due"
    assert passes() == 1
    [view] = list_schedules()
    assert view.next_at == due_at + timedelta(days=1)
    assert view.last_at >= due_at


def test_one_run_per_tick_whatever_the_number_of_upkeep_processes():
    schedule("*/5 * * * *")
    upkeep.run_pass()
    to_next()
    together = threading.Barrier(4)

    def race():
        connection = runtime().pool._open()
        together.wait()
        for _ in range(5):
            cron.tick(connection)
        connection.close()

    threads = [threading.Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list_runs()) == 1


def test_a_process_that_froze_in_the_middle_of_a_tick_delays_no_other_schedule():
    schedule("*/5 * * * *")
    schedule("*/5 * * * *", "other")
    upkeep.run_pass()
    to_next()
    frozen = runtime().pool._open()
    with frozen.transaction(force_rollback=True):
        frozen.execute("SELECT FROM schedule WHERE workflow = 'nightly' FOR UPDATE")
        passes()
        assert [run.workflow for run in list_runs()] == ["other"]
    frozen.close()
    assert passes() == 2


def test_ticks_missed_during_downtime_make_one_run():
    schedule("0 * * * *")
    upkeep.run_pass()
    due_at = to_next()
    clock.advance(5 * 3600)
    assert passes() == 1
    assert passes() == 1
    [view] = list_schedules()
    assert view.next_at == due_at + timedelta(hours=6)
    assert list_runs()[0].input["due_at"] == due_at.isoformat()


def test_another_expression_in_the_code_moves_the_next_tick():
    schedule("0 3 * * *")
    upkeep.run_pass()
    registry.by_name.clear()
    schedule("30 4 * * *")
    upkeep.run_pass()
    [view] = list_schedules()
    assert (view.cron, view.next_at.hour, view.next_at.minute) == ("30 4 * * *", 4, 30)


def test_a_workflow_that_is_gone_from_the_code_is_not_ticked_by_those_who_do_not_know_it():
    schedule("*/5 * * * *")
    upkeep.run_pass()
    to_next()
    with isolated_registry():
        registry.by_name.clear()
        assert passes() == 0
        assert upkeep.seconds_to_next() == upkeep.LONGEST_SLEEP  # and nobody hurries for it
    assert passes() == 1


def test_a_paused_schedule_does_not_tick_and_makes_up_for_nothing():
    schedule("*/5 * * * *")
    upkeep.run_pass()
    assert pause_schedule("nightly")
    assert not pause_schedule("nightly")
    to_next()
    assert passes() == 0
    assert upkeep.seconds_to_next() == upkeep.LONGEST_SLEEP
    assert list_schedules()[0].paused_at is not None
    assert resume_schedule("nightly")
    assert not resume_schedule("nightly")
    db.session.commit()
    assert passes() == 0
    to_next()
    assert passes() == 1


def test_a_schedule_can_be_triggered_now_in_the_callers_transaction():
    schedule("0 3 * * *")
    upkeep.run_pass()
    before = list_schedules()
    trigger_schedule("nightly")
    db.session.rollback()
    assert list_runs() == []
    run_id = trigger_schedule("nightly")
    assert drain() == [("nightly", "completed")]
    assert list_runs()[0].id == run_id
    assert list_schedules() == before


@pytest.mark.parametrize("verb", [resume_schedule, trigger_schedule])
def test_a_schedule_that_nobody_knows_is_refused(verb):
    with pytest.raises(EngineError, match="list_schedules"):
        verb("nothing")


def test_a_paused_workflow_is_ticked_and_its_run_held():
    schedule("*/5 * * * *")
    upkeep.run_pass()
    pause_workflow("nightly")
    to_next()
    assert drain() == []
    assert [(run.status, run.held_by) for run in list_runs()] == [("queued", "nightly!paused")]


def test_upkeep_is_there_on_time():
    schedule("* * * * *")
    upkeep.run_pass()
    to_next()
    clock.advance(59.5 - 0.01)
    upkeep.run_pass()
    assert 0 < upkeep.seconds_to_next() <= 0.5


def test_jitter_puts_a_tick_off_by_less_than_that_and_the_same_everywhere():
    schedule("0 3 * * *", jitter=600)
    schedule("0 3 * * *", "other", jitter=600)
    nightly, other = registry.by_name["nightly"], registry.by_name["other"]
    days = [datetime(2026, 1, day, tzinfo=UTC) for day in range(1, 29)]
    put_off = [cron.next_at(nightly, day) - day - timedelta(hours=3) for day in days]
    assert all(timedelta(0) <= offset < timedelta(seconds=600) for offset in put_off)
    assert len(set(put_off)) > 20
    assert put_off != [cron.next_at(other, day) - day - timedelta(hours=3) for day in days]
    assert put_off == [cron.next_at(nightly, day) - day - timedelta(hours=3) for day in days]


def test_jitter_loses_and_doubles_no_tick():
    schedule("0 * * * *", jitter=1800)
    upkeep.run_pass()
    for count in range(1, 5):
        to_next()
        assert passes() == count
    hours = {datetime.fromisoformat(run.input["due_at"]).hour for run in list_runs()}
    assert len(hours) == 4


@pytest.mark.parametrize("name", ["schedule/due", "engine/bulk"])
def test_the_engines_own_events_cannot_be_sent_from_outside(name):
    with pytest.raises(EngineError, match="reserved"):
        send(name, {}, owner_id=None)


def test_no_other_workflow_starts_from_a_tick():
    schedule("*/5 * * * *")

    @workflow("curious", on="*")
    def curious(ctx, step):
        pass

    upkeep.run_pass()
    to_next()
    passes()
    assert [run.workflow for run in list_runs()] == ["nightly"]
    assert len(sent_events("schedule/due")) == 1


@pytest.mark.parametrize(
    "expression",
    ["", "* * * *", "* * * * * *", "61 * * * *", "0 0 31 2 *", "TZ=Mars/Olympus 0 3 * * *", "TZ= 0 3 * * *"],
)
def test_an_expression_that_cannot_be_is_refused_at_registration(expression):
    with pytest.raises(RegistrationError, match=r"five fields|never|time zone|no cron"):
        schedule(expression)


def test_a_negative_jitter_is_refused_at_registration():
    with pytest.raises(RegistrationError, match="jitter"):
        schedule("* * * * *", jitter=-1)


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("30 2 * * *", "2026-03-28T12:00", "2026-03-29T02:30"),
        ("TZ=Europe/Berlin 0 9 * * *", "2026-01-10T12:00", "2026-01-11T08:00"),
        ("TZ=Europe/Berlin 0 9 * * *", "2026-07-10T12:00", "2026-07-11T07:00"),
        (
            "TZ=Europe/Berlin 30 2 * * *",
            "2026-03-28T12:00",
            "2026-03-29T01:00",
        ),  # 2:30 is left out: right after the gap
        ("TZ=Europe/Berlin 30 2 * * *", "2026-10-24T12:00", "2026-10-25T00:30"),  # 2:30 comes twice: the first one
        ("TZ=Europe/Berlin 30 2 * * *", "2026-10-25T00:30", "2026-10-26T01:30"),
        ("0 0 29 2 *", "2026-01-01T00:00", "2028-02-29T00:00"),
    ],
)
def test_a_fixed_time_is_due_once_a_day_also_when_the_clocks_change(expression, after, expected):
    found = next_tick(expression, datetime.fromisoformat(after).replace(tzinfo=UTC))
    assert found.replace(tzinfo=None).isoformat(timespec="minutes") == expected


@pytest.mark.parametrize("minute", range(0, 120, 10))
def test_a_tick_that_comes_late_in_the_hour_that_comes_twice_is_not_due_again(minute):
    after = datetime(2026, 10, 25, 0, 31, tzinfo=UTC) + timedelta(minutes=minute)
    assert next_tick("TZ=Europe/Berlin 30 2 * * *", after) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)
