"""A process that froze with the locks or the leases of concurrency keys: its key waits a little, and nobody else does."""

from __future__ import annotations

import pytest

from app.db import db
from app.engine import Concurrency, advance, send, store_flows, store_upkeep, upkeep, workflow
from app.engine import runtime as runtimes
from app.engine.runtime import runtime
from app.engine.testing import clock


@pytest.fixture
def start():
    @workflow("limited", on="test/limited", concurrency=[Concurrency(1, key="event.data.key")])
    def limited(ctx, step):
        pass

    @workflow("free", on="test/free")
    def free(ctx, step):
        pass

    def start(name, **data):
        send(name, data, owner_id=None)
        db.session.commit()

    return start


def claim(limit=10):
    return [run for run, _ in advance.claim_batch("mine", limit)]


def test_an_expired_lease_is_not_renewed_where_its_slot_may_be_anothers(start):
    """A frozen worker that wakes before its run was taken over must not make it two runs of one."""
    start("test/limited", key="a")
    [frozen] = claim()
    start("test/limited", key="a")
    clock.advance(runtime().ports.lease_seconds + 1)
    [successor] = claim()
    assert successor.id != frozen.id
    with runtime().pool.connection() as connection:
        leases = {run.id: run.epoch for run in (frozen, successor)}
        assert store_upkeep.heartbeat(connection, leases, 30) == {successor.id}


def test_a_run_without_limits_keeps_its_lease_after_the_database_was_away(start):
    start("test/free")
    [run] = claim()
    clock.advance(runtime().ports.lease_seconds + 1)
    with runtime().pool.connection() as connection:
        assert store_upkeep.heartbeat(connection, {run.id: run.epoch}, 30) == {run.id}


def test_a_key_that_a_frozen_process_keeps_locked_stops_no_claims_of_others(start):
    for key in ("frozen", "alive"):
        start("test/limited", key=key)
    start("test/free")
    with runtime().pool.connection() as frozen, frozen.transaction():
        frozen.execute(store_flows.LOCK, [["limited#0:frozen"]])
        assert {run.flow_a for run in claim()} == {"limited#0:alive", None}
    upkeep.run_pass()  # what is behind the key was set aside
    assert [run.flow_a for run in claim()] == ["limited#0:frozen"]


def test_the_threads_of_a_frozen_process_that_stand_in_line_give_up_before_its_lock_is_taken_away(app):
    """Else each of them would get the lock in its turn, and keep it for ten seconds."""
    with runtime().pool.connection() as connection:
        waiting, keeping = (
            connection.execute("SELECT extract(epoch FROM current_setting(%s)::interval)::float", [name]).fetchone()[0]
            for name in ("lock_timeout", "idle_in_transaction_session_timeout")
        )
    assert 0 < waiting < keeping == runtimes.FROZEN_SECONDS
