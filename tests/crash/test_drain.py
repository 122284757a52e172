"""A worker that is asked to stop parks its runs at their next step, and is gone within the drain time."""

from __future__ import annotations

import time

import pytest

from app.db import db
from app.engine import last_upkeep, list_workers, send
from tests.crash.processes import wait_until

pytestmark = pytest.mark.crash


def start(name, number=1, **data):
    for _ in range(number):
        send(name, data, owner_id=None)
    db.session.commit()


def test_a_worker_exits_as_soon_as_its_runs_have_come_to_their_next_step(start_worker, effects, statuses):
    worker = start_worker(lease=60)
    start("crash/slow", number=8, seconds=1.0)
    wait_until(lambda: len(effects(step="part-0")) == 8)
    before = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - before < 5  # not after the 25 seconds that it might have taken
    assert statuses("slow") == {"queued": 8}
    assert len(effects()) == 8


def test_a_worker_exits_within_its_drain_time_whatever_its_steps_do(start_worker, effects, statuses, monkeypatch):
    monkeypatch.setenv("TEST_DRAIN", "2")
    worker = start_worker(lease=60)
    start("crash/slow", number=3, seconds=600)
    wait_until(lambda: len(effects()) == 3)
    before = time.monotonic()
    assert worker.stop(timeout=15) == 0
    assert 2 <= time.monotonic() - before < 8
    assert statuses("slow") == {"queued": 3}


def test_the_health_of_worker_and_upkeep_is_visible(start_worker, effects):
    start_worker()
    start("crash/slow", number=2, seconds=60)
    wait_until(lambda: len(effects()) == 2)
    wait_until(lambda: [(found.kind, found.busy, found.is_alive) for found in list_workers()] == [("worker", 2, True)])
    wait_until(last_upkeep)
    seen = list_workers()[0].seen_at
    wait_until(lambda: list_workers()[0].seen_at > seen)
    assert list_workers()[0].upkeep_at is not None
