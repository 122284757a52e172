"""A worker killed where runs depend on each other: while one waits for an event or a child, and inside a bulk page."""

from __future__ import annotations

import signal
from collections import Counter

import pytest

from app.db import db
from app.engine import bulk, get_run, list_runs, list_steps, send
from app.engine.testing import sent_events
from tests.crash.processes import wait_until

pytestmark = pytest.mark.crash
LEASE = 1.0


@pytest.fixture
def heir(start_worker):
    """A worker that is frozen before it begins, so that it takes over at once when it is woken."""
    worker = start_worker(LEASE, strike="SIGSTOP start")
    wait_until(worker.is_frozen)
    return worker


def start(name, **data):
    event_id = send(name, data, owner_id=None)
    db.session.commit()
    return event_id


def only(workflow):
    db.session.rollback()
    [run] = list_runs(workflow=workflow)
    return run


# "let-it-come": the answer is there before the wait is; "think": it comes to a run that waits.
@pytest.mark.parametrize(
    ("moment", "is_late"),
    [("wait-registered", False), ("wait-taken", False), ("wait-taken", True), ("event-committed", True)],
)
def test_a_worker_killed_around_a_wait_loses_no_event_and_takes_it_once(  # noqa: PLR0917
    start_worker, effects, statuses, heir, moment, is_late
):
    worker = start_worker(LEASE, strike=f"SIGKILL {moment}")
    asked = start("crash/ask", late=is_late)
    wait_until(worker.is_killed)
    heir.signal(signal.SIGCONT)
    wait_until(lambda: statuses("asks") == {"completed": 1})
    assert [effect["step"] for effect in effects()] == [str(asked)]
    assert Counter(event["name"] for event in sent_events() if event["name"].startswith("crash/")) == {
        "crash/ask": 1,
        "crash/asked": 1,
        "crash/answered": 1,
    }


@pytest.mark.parametrize(
    ("moment", "children"), [("child-inserted", 0), ("child-committed", 1), ("child.committed", 1)]
)
def test_a_worker_killed_while_a_run_invokes_another_starts_it_once(  # noqa: PLR0917
    start_worker, effects, statuses, heir, moment, children
):
    worker = start_worker(LEASE, strike=f"SIGKILL {moment}")
    start("crash/invoke")
    wait_until(worker.is_killed)
    db.session.rollback()
    assert len(list_runs(workflow="invoked")) == children
    heir.signal(signal.SIGCONT)
    wait_until(lambda: statuses("invokes") == {"completed": 1})
    assert statuses("invoked") == {"completed": 1}
    assert [effect["step"] for effect in effects()] == ["child", "done"]
    assert only("invokes").output == "worked"


@pytest.mark.parametrize(
    ("moment", "child", "parent"),
    [
        ("parent-woken", "running", "waiting"),
        ("finish-written", "running", "waiting"),
        ("finish-committed", "completed", "queued"),
    ],
)
def test_a_child_ends_and_wakes_its_parent_in_one_transaction(  # noqa: PLR0917
    start_worker, effects, statuses, heir, moment, child, parent
):
    worker = start_worker(LEASE, strike=f"SIGKILL {moment}")
    start("crash/invoke")
    wait_until(worker.is_killed)
    assert (only("invoked").status, only("invokes").status) == (child, parent)
    heir.signal(signal.SIGCONT)
    wait_until(lambda: statuses("invokes") == {"completed": 1})
    assert [effect["step"] for effect in effects()] == ["child", "done"]


@pytest.mark.parametrize("moment", ["one-replayed", "page.checkpointed", "page.committed"])
def test_a_worker_killed_inside_a_page_of_a_bulk_replay_doubles_nothing_and_leaves_nothing_out(
    start_worker, effects, statuses, heir, moment
):
    worker = start_worker(LEASE, strike=f"SIGKILL {moment}")
    for _ in range(3):
        start("crash/slow", seconds=0)
    wait_until(lambda: statuses("slow") == {"completed": 3})
    bulk_id = bulk("replay", {"workflow": "slow"}, owner_id=None, per_second=1000)
    db.session.commit()
    wait_until(worker.is_killed)
    heir.signal(signal.SIGCONT)
    wait_until(lambda: statuses("engine-bulk") == {"completed": 1} and statuses("slow") == {"completed": 6})
    assert get_run(bulk_id).output == {"met": 3, "done": 3}
    forks = Counter(run.forked_from for run in list_runs(workflow="slow") if run.forked_from)
    assert sorted(forks.values()) == [1, 1, 1]
    assert [step.key for step in list_steps(bulk_id)] == ["begin", "page"]
