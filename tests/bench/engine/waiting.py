"""From an event to a run that waits for it, and to the first step of an isolated run."""

from __future__ import annotations

import statistics

from tests.bench.engine import jobs
from tests.bench.engine.latency import STAMP, bare_commit, event_to_first_step
from tests.bench.engine.table import Table
from tests.bench.engine.world import Worker, World, connect, until

WAITS = 60
ISOLATED = 40


def measure(world: World, table: Table) -> None:
    """Print a row for each. An isolated run that is not isolated is not measured."""
    with world.worker() as worker:
        _wait_for_event(world, table)
        _isolated(world, table, worker)


def _wait_for_event(world: World, table: Table) -> None:
    what = "event sent to a waiting run resumed"
    taken = []
    with connect("bench") as connection:
        query = "SELECT status FROM run WHERE workflow = 'bench-wait' ORDER BY id DESC LIMIT 1"
        for number in range(WAITS):
            world.send("bench/wait", {"key": number})
            until(lambda: connection.execute(query).fetchone() == ("waiting",))
            sent_at = world.send("bench/go", {"key": number})
            until(lambda: connection.execute(query).fetchone() == ("completed",))
            taken.append(world.scalar(STAMP, "bench-wait") - sent_at)
    bare = bare_commit()
    table.row(f"{what}, p50", f"{1000 * statistics.median(taken):.1f} ms")
    table.milliseconds(what, taken, bare, 100, 95)


def _isolated(world: World, table: Table, worker: Worker) -> None:
    what = "event sent to first step, isolated run"
    if not jobs.HAS_ISOLATED:
        table.missing(what, "there are no isolated workflows yet (target: p50 under 40 ms)")
        return
    taken = event_to_first_step(world, ISOLATED, event="bench/isolated", workflow="bench-isolated")
    if (worker.pid,) in world.rows("SELECT (output #>> '{}')::int FROM step WHERE key = 'pid'"):
        table.missing(what, "it ran in the worker's own process (target: p50 under 40 ms)")
        return
    table.milliseconds(what, taken, bare_commit(), 40)
