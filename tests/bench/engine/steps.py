"""Durable steps a second and what one costs, in turn with bare commits, DBOS Transact and Restate."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from tests.bench.engine.peers import programs
from tests.bench.engine.table import Table, in_turn, percentile, ratio
from tests.bench.engine.world import World, bare_commits

ALONE = (1, 500)
AT_ONCE = (16, 60)
ROUNDS = 6
STARTS = 100
ENQUEUED = 10  # each waits for DBOS's queue to be polled, once a second

NEWEST = """
SELECT extract(epoch FROM finished_at), extract(epoch FROM created_at), output, status
FROM run WHERE workflow = 'bench-steps' ORDER BY id DESC LIMIT %s
"""


def measure(world: World, table: Table) -> None:
    """Print the rows of steps."""
    with world.worker(), programs.running() as (peers, why):
        for name, reason in why.items():
            table.missing(f"steps a second of {name}", reason)
        overhead: list[float] = []
        commits: list[float] = []
        _compare(world, table, "one run alone", ALONE, peers, overhead=overhead, commits=commits)
        _compare(world, table, "16 runs at once", AT_ONCE, peers)
        _overhead(table, overhead, commits)
        _peers_latency(table, peers, statistics.median(commits))


def durable_steps(world: World, runs: int, steps: int, database: str = "bench") -> tuple[float, list[float]]:
    """Return steps a second of runs that begin in one commit, and the seconds that each step took in the body.

    Counted from the event's commit to the end of the last run, in the database's own time.
    """
    world.send("bench/steps", *[{"steps": steps}] * runs, database=database)
    world.wait_until_done(database)
    rows = world.rows(NEWEST, runs, database=database)
    assert all(row[3] == "completed" for row in rows), "a run did not complete"
    seconds = float(max(row[0] for row in rows) - min(row[1] for row in rows))
    return runs * steps / seconds, [taken / 1e6 for row in rows for taken in row[2]]


def _compare(
    world: World,
    table: Table,
    what: str,
    size: tuple[int, int],
    peers: dict[str, programs.Dbos | programs.Restate],
    *,
    overhead: list[float] | None = None,
    commits: list[float] | None = None,
) -> None:
    runs, steps = size

    def bare() -> float:
        taken = bare_commits(0.5, runs)
        if commits is not None:
            commits.extend(taken)
        return len(taken) / 0.5

    def ours() -> float:
        rate, taken = durable_steps(world, runs, steps)
        if overhead is not None:
            overhead.extend(taken)
        return rate

    measurements = {
        "bare": bare,
        "ours": ours,
        **{name: lambda peer=peer: peer.steps(*size) for name, peer in peers.items()},
    }
    found = in_turn(ROUNDS, measurements)
    table.row(f"bare one-row commits, {runs} connection{'s' * (runs > 1)}", _rate(found["bare"]))
    share = ratio(found["ours"], found["bare"])
    goal = {"target": "at least 60 %", "reached": share >= 0.6} if runs == 1 else {}
    table.row(f"durable steps, {what}", _rate(found["ours"]), f"{share:.0%} of bare commits", **goal)
    for name in peers:
        times = ratio(found["ours"], found[name])
        table.row(f"steps of {name}, {what}", _rate(found[name]), f"ours is {times:.2f} x", **_goal(name, runs, times))


def _goal(name: str, runs: int, times: float) -> dict[str, object]:
    if name == programs.Dbos.name:
        return {"target": "ours at least 3 x", "reached": times >= 3}
    return {"target": "ours ahead", "reached": times > 1} if runs > 1 else {}


def _overhead(table: Table, overhead: Sequence[float], commits: Sequence[float]) -> None:
    bare = statistics.median(commits)
    p50, p99 = statistics.median(overhead), percentile(overhead, 99)
    table.row(
        "one step of a run alone, p50",
        f"{1000 * p50:.2f} ms (of {len(overhead)})",
        f"{p50 / bare:.2f} x a bare commit",
        "under 1.5 x",
        reached=p50 < 1.5 * bare,
    )
    table.row(
        "one step of a run alone, p99",
        f"{1000 * p99:.2f} ms",
        f"{1000 * (p99 - bare):.2f} ms above (its p99: {1000 * percentile(commits, 99):.2f})",
        "under 5 ms above it",
        reached=p99 - bare < 0.005,
    )


def _peers_latency(table: Table, peers: dict[str, programs.Dbos | programs.Restate], bare: float) -> None:
    for name, peer in peers.items():
        if isinstance(peer, programs.Dbos):
            _latency(table, f"{name}: start_workflow to first step, same process", peer.starts(STARTS), bare)
            _latency(table, f"{name}: enqueued to first step, other process", peer.events(ENQUEUED), bare)
        else:
            _latency(table, f"{name}: request to first step", peer.events(STARTS), bare)


def _latency(table: Table, what: str, seconds: Sequence[float], bare: float) -> None:
    p50, p99 = statistics.median(seconds), percentile(seconds, 99)
    measured = f"p50 {1000 * p50:.1f} ms, p99 {1000 * p99:.1f}"
    table.row(what, measured, f"{p50 / bare:.1f} x a bare commit")


def _rate(rates: Sequence[float]) -> str:
    return f"{statistics.median(rates):.0f}/s"
