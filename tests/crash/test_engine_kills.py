"""A worker struck by a real signal at the worst moments: its run ends right, and each remembered effect happened once."""

from __future__ import annotations

import signal
from collections import Counter

import pytest

from app.db import db
from app.engine import list_runs, send
from app.engine.testing import sent_events
from tests.crash.processes import wait_until

pytestmark = pytest.mark.crash
LEASE = 1.0


def start(name, **data):
    send(name, data, owner_id=None)
    db.session.commit()


@pytest.fixture
def heir(start_worker):
    """A worker that is frozen before it begins, so that it takes over at once when it is woken."""
    worker = start_worker(LEASE, strike="SIGSTOP start")
    wait_until(worker.is_frozen)
    return worker


def check(effects, workflow, ending, *, asked=1):
    """The run has ended once, each step and hook took effect once; what it asked outside, once or, in between, twice."""
    db.session.rollback()
    [run] = list_runs(workflow=workflow)
    hooks = {"hook": 1} if ending == "failed" else {}
    counts = Counter(effect["step"] for effect in effects())
    assert counts == {"asked": asked, "one": 1, "two": 1, "three": 1, **hooks}
    assert len(sent_events("crash/done")) == 1
    assert [event["name"] for event in sent_events() if event["name"].startswith("run/")] == [f"run/{ending}"]
    return run


MOMENTS = [
    "claim-committed",
    "one.worked",
    "one.checkpointed",
    "two.checkpointed",
    "two.committed",
    "failed-try-written",
    "park-written",
    "leaving-committed",
    "four.checkpointed",
    "finish-written",
    "finish-committed",
]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_worker_killed_at_this_moment_is_taken_over(start_worker, effects, statuses, heir, moment):
    worker = start_worker(LEASE, strike=f"SIGKILL {moment}")
    start("crash/worst")
    wait_until(worker.is_killed)
    heir.signal(signal.SIGCONT)
    wait_until(lambda: statuses("worst") == {"completed": 1})
    run = check(effects, "worst", "completed", asked=2 if moment in ("one.worked", "one.checkpointed") else 1)
    assert run.recoveries == (0 if moment in ("leaving-committed", "finish-committed") else 1)


@pytest.mark.parametrize("moment", ["admission-written", "admission-committed", "park-written", "finish-written"])
def test_a_worker_killed_with_a_limit_in_its_hands_lets_the_next_run_of_the_key_start(
    start_worker, effects, statuses, heir, moment
):
    worker = start_worker(LEASE, strike=f"SIGKILL {moment}")
    start("crash/worst-limited", key="same")
    wait_until(worker.is_killed)
    start("crash/limited", key="other", seconds=0)
    heir.signal(signal.SIGCONT)
    wait_until(lambda: statuses("worst-limited") == {"completed": 1})
    start("crash/worst-limited", key="same")
    wait_until(lambda: statuses("worst-limited") == {"completed": 2})
    counts = Counter(
        (effect["run"], effect["step"]) for effect in effects() if effect["step"] in ("one", "two", "three")
    )
    assert len(counts) == 6
    assert set(counts.values()) == {1}


@pytest.mark.parametrize(
    "moment", ["five.checkpointed", "five.committed", "on-failure.checkpointed", "on-failure.committed"]
)
def test_a_worker_killed_around_a_failure_runs_its_hook_exactly_once(start_worker, effects, statuses, heir, moment):
    worker = start_worker(LEASE, strike=f"SIGKILL {moment}")
    start("crash/worst", fails=True)
    wait_until(worker.is_killed)
    heir.signal(signal.SIGCONT)
    wait_until(lambda: statuses("worst-failed") == {"completed": 1})
    check(effects, "worst", "failed")


@pytest.mark.parametrize("moment", ["rescue-written", "rescue-committed"])
def test_a_worker_killed_while_it_rescues_a_run_leaves_it_to_the_next_one(
    start_worker, effects, statuses, heir, moment
):
    worker = start_worker(LEASE, strike="SIGKILL two.committed")
    start("crash/worst")
    wait_until(worker.is_killed)
    rescuer = start_worker(LEASE, strike=f"SIGKILL {moment}")
    wait_until(rescuer.is_killed)
    heir.signal(signal.SIGCONT)
    wait_until(lambda: statuses("worst") == {"completed": 1})
    assert check(effects, "worst", "completed").recoveries == 1


def test_a_worker_killed_during_a_step_repeats_only_that_step(start_worker, effects, statuses, heir):
    worker = start_worker(LEASE)
    start("crash/slow", seconds=0.5)
    wait_until(lambda: len(effects()) == 2)  # part-0 is remembered, part-1 has begun
    worker.kill()
    heir.signal(signal.SIGCONT)
    wait_until(lambda: statuses("slow").get("completed") == 1)
    # The effect of part-1 outside had happened, its memo had not: at least once.
    assert Counter(effect["step"] for effect in effects()) == {"part-0": 1, "part-1": 2, "part-2": 1}


def test_a_worker_killed_during_a_transaction_step_repeats_it_without_a_trace(start_worker, effects, statuses, heir):
    worker = start_worker(LEASE)
    start("crash/hesitate")
    wait_until(lambda: effects(step="asked"))
    worker.kill()
    heir.signal(signal.SIGCONT)
    wait_until(lambda: statuses("hesitate").get("completed") == 1)
    assert len(effects(step="written")) == 1


@pytest.mark.parametrize("moment", ["one.worked", "two.worked", "one.committed", "park-written"])
def test_a_worker_frozen_past_its_lease_writes_nothing_and_calls_nobody_when_it_wakes(
    start_worker, effects, statuses, heir, moment
):
    frozen = start_worker(LEASE, strike=f"SIGSTOP {moment}")
    start("crash/worst")
    wait_until(frozen.is_frozen)
    before = effects(pid=frozen.pid)
    heir.signal(signal.SIGCONT)
    # Frozen inside a transaction of the engine's, it keeps the run until PostgreSQL ends that after ten seconds.
    wait_until(lambda: statuses("worst") == {"completed": 1}, 40)
    frozen.signal(signal.SIGCONT)
    assert frozen.stop() == 0  # its thread has come to an end
    assert effects(pid=frozen.pid) == before
    check(effects, "worst", "completed", asked=2 if moment == "one.worked" else 1)


def test_a_worker_frozen_between_two_steps_makes_no_further_call_outside(start_worker, effects, statuses, heir):
    frozen = start_worker(LEASE)
    start("crash/slow", seconds=0.5)
    wait_until(lambda: len(effects()) == 1)
    frozen.signal(signal.SIGSTOP)
    heir.signal(signal.SIGCONT)
    wait_until(lambda: effects(step="part-2", pid=heir.pid))
    frozen.signal(signal.SIGCONT)
    wait_until(lambda: statuses("slow").get("completed") == 1)
    assert frozen.stop() == 0
    assert Counter(effect["step"] for effect in effects(pid=frozen.pid)) == {"part-0": 1}
