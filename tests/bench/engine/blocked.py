"""What a claim costs behind 1,000 and behind 100,000 due runs of one key that is full."""

from __future__ import annotations

import statistics
import time

from app.engine import advance
from tests.bench.engine.latency import bare_commit
from tests.bench.engine.table import Table, percentile
from tests.bench.engine.world import World

DATABASE = "bench_full"
SIZES = (1_000, 100_000)
CLAIMS = 200
FLAT = 1.5  # times: less is the machine
FREE_KEY = "'bench-limited#0:' || n"
FLOWS = f"INSERT INTO flow SELECT {FREE_KEY} FROM generate_series(1, {{free}}) AS n"


def measure(world: World, table: Table) -> None:
    """Print the rows of blocked runs."""
    costs = {}
    with world.use(DATABASE):
        for size in SIZES:
            _fill(world, size)
            aside, calls = _until_claimed()
            taken = [_claim() for _ in range(CLAIMS)]
            costs[size] = statistics.median(taken)
            table.row(
                f"claim behind {size:,} due runs of one full key, p50",
                f"{1000 * costs[size]:.2f} ms (p99 {1000 * percentile(taken, 99):.2f})",
                f"{costs[size] / bare_commit():.1f} x a bare commit",
            )
            table.row(f"  before that, once: until all {size:,} stand aside", f"{aside:.2f} s", f"{calls} claims")
    small, large = (costs[size] for size in SIZES)
    table.row(
        f"claim behind {SIZES[1]:,} against behind {SIZES[0]:,}",
        f"{large / small:.2f} x",
        "",
        f"flat (at most {FLAT} x)",
        reached=large / small <= FLAT,
    )


def _fill(world: World, size: int) -> None:
    """Write one running run of the key, `size` due ones behind it, and younger ones that are free to be claimed.

    Half of the latter have a key each, half have none; there are as many as all the claims can take.
    """
    world.empty(DATABASE)
    world.send("bench/limited", {"key": "full"}, database=DATABASE)
    world.send("bench/stamp", {}, database=DATABASE)
    free = CLAIMS + size // 250
    world.copy("bench-limited", 1, DATABASE, status="'running'", lease_until="now() + interval '1 hour'")
    world.run("DELETE FROM run WHERE workflow = 'bench-limited' AND status = 'queued'", database=DATABASE)
    queued = {"status": "'queued'", "lease_until": "NULL"}
    world.copy("bench-limited", size, DATABASE, **queued, sort_at="now() - interval '2 hours' + n * interval '1 ms'")
    world.run(FLOWS.format(free=free), database=DATABASE)
    young = "now() - interval '1 hour' + n * interval '1 ms'"
    world.copy("bench-limited", free, DATABASE, **queued, flow_a=FREE_KEY, sort_at=young)
    world.copy("bench-stamp", free, DATABASE, sort_at=young)
    world.run("VACUUM ANALYZE run", database=DATABASE)


def _claim() -> float:
    """Claim a run as a run thread does that has just ended one; returns the seconds."""
    began = time.perf_counter()
    claimed = advance.claim_batch("bench", 1)
    taken = time.perf_counter() - began
    assert claimed, "nothing was left to claim"
    return taken


def _until_claimed() -> tuple[float, int]:
    """Claim until a run with a key of its own came through; returns the seconds and claims that took."""
    began = time.perf_counter()
    for calls in range(1, CLAIMS + SIZES[1] // 250):
        if any(run.flow_a for run, _ in advance.claim_batch("bench", 1)):
            return time.perf_counter() - began, calls
    raise AssertionError("the full key starved all others")
