"""A bounded storm: workers are killed and frozen, Redis is flushed, and every run ends with each memo made once."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter

import pytest
import sqlalchemy as sa

from app.db import db
from app.engine import send
from app.extensions import redis_client
from tests.crash.processes import wait_until

pytestmark = [pytest.mark.crash, pytest.mark.timeout(240)]
SECONDS, EVERY, RUNS, LIMIT = 40, 3.0, 120, 2


def send_some(count):
    for number in range(count):
        send("crash/five", {}, owner_id=None)
        if number % 4 == 0:
            send("crash/limited", {"key": number % 3, "seconds": 0.05}, owner_id=None)
    db.session.commit()


def strike(worker, start_worker, chance):
    """Kill a worker and start another, or freeze one past its lease."""
    if chance.random() < 0.7:
        worker.kill()
        return start_worker()
    worker.signal(signal.SIGSTOP)
    return worker


def test_every_run_ends_and_nothing_remembered_is_repeated(settings, start_worker, effects, statuses):
    chance = random.Random(20261122)  # noqa: S311
    workers = [start_worker() for _ in range(3)]
    end = time.monotonic() + SECONDS
    sent = 0
    while time.monotonic() < end:
        if sent < RUNS:
            send_some(RUNS // 10)
            sent += RUNS // 10
        number = chance.randrange(3)
        workers[number].signal(signal.SIGCONT)
        workers[number] = strike(workers[number], start_worker, chance)
        if chance.random() < 0.2:
            with redis_client(settings) as redis:
                redis.flushdb()
        time.sleep(EVERY)
    for worker in workers:
        worker.signal(signal.SIGCONT)
    wait_until(lambda: not set(statuses()) - {"completed"}, 90)
    assert statuses("five-steps") == {"completed": sent}
    check_effects(effects, sent)


def check_effects(effects, sent):
    """What a step wrote in its own commit is there exactly once; what it did outside, at least once."""
    inside = Counter((effect["run"], effect["step"]) for effect in effects() if effect["step"] in ("two", "four"))
    assert len(inside) == 2 * sent
    assert set(inside.values()) == {1}
    outside = {(effect["run"], effect["step"]) for effect in effects() if effect["step"] in ("one", "three0", "three1")}
    assert len(outside) == 3 * sent
    with db.engine.connect() as connection:
        events = connection.execute(
            sa.text("SELECT data ->> 'run', count(*) FROM event WHERE name = 'crash/done' GROUP BY 1")
        ).all()
    assert {count for _, count in events} == {1}
    assert len(events) == sent
