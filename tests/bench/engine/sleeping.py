"""100,000 sleeping runs: what they cost others, whether they wake on time, and how fast a burst of them drains.

What they cost is measured beside an empty database on the same server, with a worker of its own, turn and turn about.
"""

from __future__ import annotations

import statistics

from tests.bench.engine.latency import event_to_first_step
from tests.bench.engine.steps import durable_steps
from tests.bench.engine.table import Table, in_turn, percentile, ratio
from tests.bench.engine.world import World, bare_commits, connect, until

FULL, EMPTY = "bench_full", "bench"
SLEEPING = 100_000
ROUNDS = 9
STEPS = 400
EVENTS = 8  # a round
NOISE = 0.05  # less than this cannot be told from chance here
A_SECOND, SECONDS = 100, 5
BURST = 10_000
# Their time of waking moves from due_at to sort_at when they are woken.
SOON = f"""
UPDATE run SET subject = 'soon', due_at = now() + interval '3 seconds' + n * interval '{1000 // A_SECOND} milliseconds'
FROM (SELECT id, row_number() OVER () AS n FROM run WHERE status = 'waiting' LIMIT {A_SECOND * SECONDS}) AS chosen
WHERE run.id = chosen.id
"""
NOW = f"""
UPDATE run SET subject = 'burst', due_at = now()
WHERE id IN (SELECT id FROM run WHERE status = 'waiting' LIMIT {BURST})
"""
LATE = """
SELECT (step.output #>> '{}')::float8 - extract(epoch FROM run.sort_at)::float8
FROM run JOIN step ON step.run_id = run.id AND step.key = 'stamp' WHERE run.subject = 'soon'
"""
DRAINED = "SELECT extract(epoch FROM max(finished_at) - min(sort_at))::float8 FROM run WHERE subject = 'burst'"


def measure(world: World, table: Table) -> None:
    """Print the rows of sleeping runs."""
    world.empty(FULL)
    world.send("bench/stamp", {}, database=FULL)
    later = "now() + interval '1 day' + n * interval '1 second'"
    world.copy("bench-stamp", SLEEPING, FULL, status="'waiting'", due_at=later)
    world.run("VACUUM ANALYZE run", database=FULL)
    with world.worker(EMPTY), world.worker(FULL):
        _cost(world, table)
    with world.worker(FULL):
        _on_time(world, table)
        _burst(world, table)


def _cost(world: World, table: Table) -> None:
    rates = in_turn(ROUNDS, {name: lambda name=name: durable_steps(world, 1, STEPS, name)[0] for name in (EMPTY, FULL)})
    share = ratio(rates[FULL], rates[EMPTY])
    table.row(
        f"durable steps beside {SLEEPING:,} sleeping runs",
        f"{statistics.median(rates[FULL]):.0f}/s",
        f"{share:.0%} of those beside none",
        f"at least {1 - NOISE:.0%}",
        reached=share >= 1 - NOISE,
    )
    soon = {
        name: lambda name=name: statistics.median(event_to_first_step(world, EVENTS, name)) for name in (EMPTY, FULL)
    }
    taken = in_turn(ROUNDS, soon)
    times = ratio(taken[FULL], taken[EMPTY])
    table.row(
        f"event to first step beside {SLEEPING:,} sleeping runs",
        f"{1000 * statistics.median(taken[FULL]):.1f} ms",
        f"{times:.2f} x that beside none",
        f"at most {1 + NOISE:.2f} x",
        reached=times <= 1 + NOISE,
    )


def _on_time(world: World, table: Table) -> None:
    world.run(SOON, database=FULL)
    _wait_for("soon", A_SECOND * SECONDS)
    late = [row[0] for row in world.rows(LATE, database=FULL)]
    table.row(
        f"woken late, {A_SECOND} due in a second among {SLEEPING:,}, worst",
        f"{max(late):.2f} s (p50 {percentile(late, 50):.2f})",
        f"{len(late)} runs in {SECONDS} s",
        "at most 1 s",
        reached=max(late) <= 1,
    )


def _burst(world: World, table: Table) -> None:
    world.run(NOW, database=FULL)
    _wait_for("burst", BURST)
    seconds = world.scalar(DRAINED, database=FULL)
    commits = len(bare_commits(1.0, 16))
    table.row(
        f"{BURST:,} runs due at once, one step each, one worker",
        f"{BURST / seconds:.0f} runs/s ({seconds:.1f} s)",
        f"{BURST / seconds / commits:.1%} of bare commits by 16",
        "at least 500 runs/s",
        reached=BURST / seconds >= 500,
    )


def _wait_for(subject: str, number: int) -> None:
    query = "SELECT count(*) FROM run WHERE subject = %s AND status = 'completed'"
    with connect(FULL) as connection:
        until(lambda: connection.execute(query, [subject]).fetchone()[0] == number, pause=0.25)
