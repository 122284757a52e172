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
KEY = "bench-limited#0:full"
# One run of the key is running, the others are due and older than those that are claimed: every second one of those
# has a key of its own, the others have none. There are as many as the claims before and while we measure can take.
SEED = """
WITH sent AS (
  INSERT INTO event (id, name, data, created_at) VALUES (gen_random_uuid(), 'bench/limited', '{{}}', now()) RETURNING id),
keys AS (
  INSERT INTO flow (key) SELECT '{key}' UNION ALL SELECT 'bench-limited#0:' || n FROM generate_series(1, {claims}) AS n)
INSERT INTO run (id, workflow, version, status, event_id, event_name, flow_a, lease_until, sort_at, created_at)
SELECT gen_random_uuid(), 'bench-limited', 1, 'running', sent.id, 'bench/limited', '{key}', now() + interval '1 hour',
       now() - interval '3 hours', now() FROM sent
UNION ALL
SELECT gen_random_uuid(), 'bench-limited', 1, 'queued', sent.id, 'bench/limited', '{key}', NULL,
       now() - interval '2 hours' + n * interval '1 ms', now() FROM sent, generate_series(1, {size}) AS n
UNION ALL
SELECT gen_random_uuid(), CASE n % 2 WHEN 0 THEN 'bench-limited' ELSE 'bench-stamp' END, 1, 'queued', sent.id,
       'bench/limited', CASE n % 2 WHEN 0 THEN 'bench-limited#0:' || n / 2 END, NULL,
       now() - interval '1 hour' + n * interval '1 ms', now() FROM sent, generate_series(1, {claims} * 2) AS n
"""


def measure(world: World, table: Table) -> None:
    """Print the rows of blocked runs."""
    costs = {}
    with world.use(DATABASE):
        for size in SIZES:
            world.empty(DATABASE)
            world.run(
                SEED.format(key=KEY, size=size, claims=CLAIMS + size // 250), "VACUUM ANALYZE run", database=DATABASE
            )
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
