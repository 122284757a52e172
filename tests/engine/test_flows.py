"""Keyed concurrency: exactly the limit, first in first out, and nobody starves."""

from __future__ import annotations

import select
import threading

import psycopg
import pytest

from app.db import db
from app.engine import (
    Concurrency,
    RegistrationError,
    RetryAfter,
    advance,
    get_run,
    list_runs,
    send,
    store_admission,
    store_flows,
    store_upkeep,
    upkeep,
    workflow,
)
from app.engine import runtime as runtimes
from app.engine.registry import registry
from app.engine.runtime import runtime
from app.engine.testing import clock, drain, isolated_registry
from tests.engine.locks import waits_for_a_lock


@pytest.fixture
def limited():
    @workflow("limited", on="test/limited", concurrency=[Concurrency(1, key="event.data.key")], backoff=(60,))
    def limited(ctx, step):
        step.run("work", lambda: None)


def start(count, key="a", name="test/limited", **data):
    for _ in range(count):
        send(name, {"key": key, **data}, owner_id=None)
    db.session.commit()


def claim(limit=10):
    return [run for run, _ in advance.claim_batch("mine", limit)]


def oldest_first(**wanted):
    return list_runs(**wanted)[::-1]


def test_the_count_is_taken_in_a_second_statement_after_the_lock():
    """Two workers at once, two slots, three runs: one statement would count on the old snapshot and admit all three.

    With a single slot the mistake would not show: the first worker sets the other run aside.
    """

    @workflow("paired", on="test/paired", concurrency=[Concurrency(2)])
    def paired(ctx, step):
        pass

    start(3, name="test/paired")
    runs = oldest_first()
    first, second = runtime().pool._open(), runtime().pool._open()
    try:
        with runtime().pool.connection() as connection:
            wanted = store_admission.candidates_among(connection, [run.id for run in runs])
        admitted = []
        with first.transaction():
            admitted += store_admission.admit(first, wanted[:1], worker="one", lease=30)
            thread = threading.Thread(
                target=lambda: admitted.extend(store_admission.admit(second, wanted[1:], worker="two", lease=30))
            )
            thread.start()
            waits_for_a_lock(second)
        thread.join()
        assert [run.id for run in admitted] == [run.id for run in runs[:2]]
    finally:
        first.close()
        second.close()


def test_exactly_the_limit_executes_and_the_rest_is_held(limited):
    start(5)
    assert len(claim()) == 1
    assert claim() == []
    held = [run for run in list_runs() if run.held_by]
    assert len(held) == 4
    assert {run.held_by for run in held} == {"limited#0:a"}


def test_finishing_promotes_the_oldest_and_order_is_kept(limited):
    start(4)
    wanted = [run.id for run in oldest_first()]
    done = []
    while claimed := claim():
        assert len(claimed) == 1
        done.append(claimed[0].id)
        advance.advance(claimed[0], __import__("time").monotonic())
    assert done == wanted


def test_a_newcomer_does_not_overtake_a_held_run(limited):
    start(2)
    [running] = claim()
    claim()
    start(1)
    newcomer = oldest_first()[2]
    advance.advance(running, __import__("time").monotonic())
    assert advance.claim_one("mine", newcomer.id) is None  # its hint came first, its turn has not
    assert [run.id for run in claim()] == [oldest_first()[1].id]


def test_one_busy_key_starves_nobody(limited):
    start(50, "busy")
    start(1, "calm")
    assert {run.flow_a for run in claim()} == {"limited#0:busy", "limited#0:calm"}


def test_runs_without_limits_are_not_starved_by_those_with(limited):
    @workflow("free", on="test/free")
    def free(ctx, step):
        pass

    start(50, "busy")
    start(1, name="test/free")
    assert "free" in {run.workflow for run in claim()}


def test_claiming_one_at_a_time_gives_both_kinds_their_turn(limited):
    @workflow("free", on="test/free")
    def free(ctx, step):
        pass

    for number in range(4):
        start(1, f"key-{number}")
        start(1, name="test/free")
    claimed = [run.workflow for _ in range(8) for run in claim(1)]
    assert sorted(claimed[:4]) == ["free", "free", "limited", "limited"]
    assert sorted(claimed[4:]) == ["free", "free", "limited", "limited"]


def test_claiming_one_at_a_time_misses_nothing_when_only_one_kind_is_due(limited):
    for number in range(4):
        start(1, f"key-{number}")
    assert [len(claim(1)) for _ in range(5)] == [1, 1, 1, 1, 0]


def test_a_waiting_run_holds_no_slot():
    @workflow("polite", on="test/polite", concurrency=[Concurrency(1)])
    def polite(ctx, step):
        def work():
            if ctx.event.data["key"] == "first" and not waited:
                waited.append(1)
                raise RetryAfter(3600)

        step.run("work", work)

    waited = []
    start(1, "first", "test/polite")
    start(1, "second", "test/polite")
    drain()
    assert [run.status for run in oldest_first()] == ["waiting", "completed"]


@pytest.mark.parametrize("way", ["park", "finish"])
def test_whoever_leaves_a_slot_promotes_the_oldest_held_run_without_waiting_for_upkeep(way):
    @workflow("short", on="test/short", concurrency=[Concurrency(1)])
    def short(ctx, step):
        if way == "park":
            step.sleep("nap", "1h")

    for number in range(3):
        start(1, number, "test/short")
    [(first, claimed_at)] = [*advance.claim_batch("mine", 3), *advance.claim_batch("mine", 3)]
    assert [bool(run.held_by) for run in oldest_first()] == [False, True, True]
    advance.advance(first, claimed_at)
    db.session.rollback()
    assert [bool(run.held_by) for run in oldest_first()] == [False, False, True]


def test_an_expired_lease_frees_its_slot(limited):
    start(2)
    [lost] = claim()
    claim()
    clock.advance(31)
    upkeep.run_pass()
    assert [run.id for run in claim()] == [lost.id]  # the older one first, and still one at a time


def test_upkeep_repairs_a_lost_promotion(limited):
    start(2)
    [running] = claim()
    claim()
    with runtime().pool.connection() as connection:
        connection.execute("UPDATE run SET status = 'completed', lease_until = NULL WHERE id = %s", [running.id])
    assert claim() == []
    upkeep.run_pass()
    assert len(claim()) == 1


def test_a_process_frozen_in_the_middle_of_a_pass_stops_no_others_timers(limited, monkeypatch):
    """There is no leader: what it has locked is skipped, also by claims, and PostgreSQL ends its transaction."""

    @workflow("retried", on="test/retried", backoff=(1,))
    def retried(ctx, step):
        step.run("work", lambda: 1 / (ctx.attempt - 1))

    start(2, name="test/retried")
    drain()
    start(2)
    [running] = claim()
    claim()
    clock.advance(31)  # two retries are due, a lease has expired, a run is held
    start(1)
    monkeypatch.setattr(runtimes, "FROZEN_SECONDS", 0.5)
    frozen = runtime().pool._open()
    frozen.execute("BEGIN")
    assert len(store_upkeep.wake_due(frozen, 1)) == 1
    frozen.execute(store_flows.LOCK, [["limited#0:a"]])
    upkeep.run_pass()
    assert {run.status for run in list_runs(workflow="retried")} == {"queued", "waiting"}
    start(1, "b")
    assert [run.flow_a for run in claim() if run.flow_a] == ["limited#0:b"]
    assert {run.held_by for run in list_runs(workflow="limited", status="queued")} == {"limited#0:a"}
    assert select.select([frozen.fileno()], [], [], 8)[0], "its transaction goes on"
    with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
        frozen.execute("SELECT 1")  # PostgreSQL has ended its transaction
    frozen.close()
    upkeep.run_pass()
    db.session.rollback()
    assert {run.status for run in list_runs(workflow="retried")} == {"running", "queued"}
    assert get_run(running.id).status == "queued"


def test_a_process_of_older_code_leaves_the_held_runs_of_newer_workflows_alone(limited):
    """It knows no limit of theirs: promoted each second, they would be set aside each second by the others."""
    start(3)
    claim()
    claim()
    with isolated_registry():
        del registry.by_name["limited"]
        upkeep.run_pass()
    assert len([run for run in list_runs() if run.held_by]) == 2


def test_two_limits_both_hold():
    @workflow(
        "double",
        on="test/double",
        concurrency=[Concurrency(2, key="event.data.key"), Concurrency(1, key="event.data.b")],
    )
    def double(ctx, step):
        pass

    start(2, "a", "test/double", b=1)
    start(2, "a", "test/double", b=2)
    assert sorted(run.flow_b for run in claim()) == ["double#1:1", "double#1:2"]
    assert claim() == []
    drain()


def test_many_due_runs_of_a_full_key_are_set_aside_in_bulk(limited, execute):
    start(1)
    claim()
    execute(
        """INSERT INTO run (id, workflow, version, status, event_id, event_name, flow_a, sort_at, created_at)
        SELECT gen_random_uuid(), 'limited', 1, 'queued', gen_random_uuid(), 'test/limited', 'limited#0:a', now(), now()
        FROM generate_series(1, 3000)"""
    )
    rounds = 0
    while [run for run in list_runs(limit=500) if run.status == "queued" and not run.held_by] and rounds < 10:
        claim()
        rounds += 1
    assert rounds <= 4


@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": [Concurrency(1), Concurrency(1), Concurrency(1)]},
        {"concurrency": [Concurrency(0)]},
        {"retries": 21},
        {"idempotency": "data.id"},
        {"subject": "video:{__import__('os')}"},
        {"backoff": ()},
        {"on": "Not An Event"},
    ],
)
def test_illegal_options_are_refused_at_registration(options):
    with pytest.raises(RegistrationError):
        workflow("illegal", **{"on": "test/illegal", **options})(print)


def test_claiming_and_promoting_cost_the_same_behind_a_thousand_or_twenty_thousand_held_runs(limited, execute):
    """Measured in rows that PostgreSQL touches, so that a busy machine does not matter."""
    start(1)
    claim()
    touched = []
    for count in (1_000, 20_000):
        execute(
            """INSERT INTO run (id, workflow, version, status, event_id, event_name, flow_a, held_by, sort_at, created_at)
            SELECT gen_random_uuid(), 'limited', 1, 'queued', gen_random_uuid(), 'test/limited', 'limited#0:a',
                   'limited#0:a', clock_timestamp(), now() FROM generate_series(1, :count)""",
            count=count,
        )
        with runtime().pool.connection() as connection, connection.transaction(force_rollback=True):
            plan = connection.execute(
                f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {store_admission.PROMOTE}", {"key": "limited#0:a", "limit": 1}
            ).fetchone()[0]
            touched.append(plan[0]["Plan"]["Shared Hit Blocks"])
        assert claim() == []
        upkeep.run_pass()
    assert touched[1] < touched[0] + 60


def test_a_pass_of_upkeep_locks_no_key_that_is_still_full(monkeypatch):
    @workflow("limited", on="test/limited", concurrency=[Concurrency(1, key="event.data.key")])
    def limited(ctx, step):
        pass

    for number in range(6):
        send("test/limited", {"key": number // 2}, owner_id=None)
    db.session.commit()
    assert len(advance.claim_batch("mine", 6)) == 3
    assert len([run for run in list_runs() if run.held_by]) == 3
    locked = []
    monkeypatch.setattr(upkeep, "_lock_free", lambda _connection, flows: locked.append(flows))
    upkeep.run_pass()
    assert locked == []
