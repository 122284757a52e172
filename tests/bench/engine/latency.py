"""How soon things begin: an event's first step, parallel steps, a long run that goes on."""

from __future__ import annotations

import random
import statistics
import time

from app.db import db
from app.engine import rerun_from
from tests.bench.engine.table import Table, percentile
from tests.bench.engine.world import World, bare_commits

EVENTS = 150
NAPS = 7
REMEMBERED = 200
RESUMES = 30
STAMP = """
SELECT (step.output #>> '{}')::float8 FROM run JOIN step ON step.run_id = run.id AND step.key = 'stamp'
WHERE run.workflow = %s ORDER BY run.id DESC LIMIT 1
"""
RESUMED = """
SELECT extract(epoch FROM step.started_at - run.started_at)::float8,
       extract(epoch FROM step.started_at - run.created_at)::float8
FROM run JOIN step ON step.run_id = run.id AND step.key = 'next' WHERE run.forked_from IS NOT NULL
"""


def measure(world: World, table: Table) -> None:
    """Print the rows of latencies."""
    with world.worker():
        bare = bare_commit()
        taken = event_to_first_step(world, EVENTS)
        table.milliseconds("event sent to first step, idle worker", taken, bare, 15)
        table.milliseconds("event sent to first step, idle worker", taken, bare, 50, 99)
        _parallel(world, table)
        _resume(world, table, bare)


def bare_commit() -> float:
    """Return the median seconds of one bare commit at this moment."""
    return statistics.median(bare_commits(1.0))


def event_to_first_step(
    world: World, events: int, database: str = "bench", event: str = "bench/stamp", workflow: str = "bench-stamp"
) -> list[float]:
    """Return seconds from just before the sender's commit to inside the first step of a worker with nothing to do."""
    taken = []
    for _ in range(events):
        time.sleep(random.uniform(0.03, 0.13))  # noqa: S311  (in no step with whatever the worker does now and then)
        sent_at = world.send(event, {}, database=database)
        world.wait_until_done(database)
        taken.append(world.scalar(STAMP, workflow, database=database) - sent_at)
    return taken


def _parallel(world: World, table: Table) -> None:
    for _ in range(NAPS):
        world.send("bench/parallel", {})
        world.wait_until_done()
    query = "SELECT extract(epoch FROM finished_at - created_at)::float8 FROM run WHERE workflow = 'bench-parallel'"
    taken = [row[0] for row in world.rows(query)]
    middle = statistics.median(taken)
    table.row(
        "20 parallel 100 ms steps, event to end, p50",
        f"{1000 * middle:.0f} ms (worst {1000 * max(taken):.0f})",
        f"{middle / 0.1:.2f} x one step",
        "under 250 ms",
        reached=middle < 0.25,
    )


def _resume(world: World, table: Table, bare: float) -> None:
    world.send("bench/long", {})
    world.wait_until_done()
    first = world.scalar("SELECT id FROM run WHERE workflow = 'bench-long'")
    for _ in range(RESUMES):
        with world.use():
            rerun_from(first, "next")
            db.session.commit()
        world.wait_until_done()
    rows = world.rows(RESUMED)
    what = f"{REMEMBERED} remembered steps"
    table.milliseconds(f"{what}, claim to first new step", [row[0] for row in rows], bare, 15)
    later = [row[1] for row in rows]
    table.row(
        f"{what}, wanted to first new step",
        f"p50 {1000 * percentile(later, 50):.1f} ms, p95 {1000 * percentile(later, 95):.1f}",
    )
