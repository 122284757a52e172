"""Durable steps a second and what one costs, in turn with bare commits, DBOS Transact and Restate."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence

from tests.bench.engine.peers import programs
from tests.bench.engine.table import Table, in_turn, percentile, ratio
from tests.bench.engine.world import World, bare_commits

ALONE = (1, 500)
AT_ONCE = (16, 60)
ROUNDS = 8
BARE_SECONDS = 0.3
STARTS = 100
ENQUEUED = 10  # each waits for DBOS's queue to be polled, once a second

NEWEST = """
SELECT extract(epoch FROM finished_at), extract(epoch FROM started_at), output, status
FROM run WHERE workflow = 'bench-steps' ORDER BY id DESC LIMIT %s
"""


def measure(world: World, table: Table) -> None:
    """Print the rows of steps."""
    with world.worker(), programs.running() as (peers, why):
        for name, reason in why.items():
            table.missing(f"steps a second of {name}", reason)
        steps, commits = _compare(world, table, "one run alone", ALONE, peers)
        _compare(world, table, "16 runs at once", AT_ONCE, peers)
        _overhead(table, steps[1:], commits[1:])
        _peers_latency(table, peers, statistics.median(itertools.chain(*commits)))


def durable_steps(world: World, runs: int, steps: int, database: str = "bench") -> tuple[float, list[float]]:
    """Return steps a second of runs that begin in one commit, and the seconds that each step took in the body.

    Counted from the first claim to the end of the last run, in the database's own time; how long an event takes until
    its run is claimed is measured by itself.
    """
    world.send("bench/steps", *[{"steps": steps}] * runs, database=database)
    world.wait_until_done(database)
    rows = world.rows(NEWEST, runs, database=database)
    assert all(row[3] == "completed" for row in rows), "a run did not complete"
    seconds = float(max(row[0] for row in rows) - min(row[1] for row in rows))
    return runs * steps / seconds, [taken / 1e6 for row in rows for taken in row[2]]


def _compare(
    world: World, table: Table, what: str, size: tuple[int, int], peers: dict[str, programs.Peer]
) -> tuple[list[list[float]], list[list[float]]]:
    """Print the rows of one size; returns how long each step and each bare commit took, by round."""
    runs = size[0]
    steps: list[list[float]] = []
    commits: list[list[float]] = []

    def bare() -> float:
        commits.append(bare_commits(BARE_SECONDS, runs))
        return len(commits[-1]) / BARE_SECONDS

    def ours() -> float:
        rate, taken = durable_steps(world, *size)
        steps.append(taken)
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
    return steps, commits


def _goal(name: str, runs: int, times: float) -> dict[str, object]:
    if name == programs.Dbos.name:
        return {"target": "ours at least 3 x", "reached": times >= 3}
    return {"target": "ours ahead", "reached": times > 1} if runs > 1 else {}


def _overhead(table: Table, steps: Sequence[Sequence[float]], commits: Sequence[Sequence[float]]) -> None:
    """Print the rows of a step's cost: each round against its own bare commits, then the median of the rounds."""
    bare = [statistics.median(taken) for taken in commits]
    p50 = [statistics.median(taken) for taken in steps]
    p99 = [percentile(taken, 99) for taken in steps]
    times, above = ratio(p50, bare), statistics.median(late - commit for late, commit in zip(p99, bare, strict=True))
    table.row(
        "one step of a run alone, p50",
        f"{1000 * statistics.median(p50):.2f} ms",
        f"{times:.2f} x a bare commit",
        "under 1.5 x",
        reached=times < 1.5,
    )
    bare_p99 = statistics.median(percentile(taken, 99) for taken in commits)
    table.row(
        "one step of a run alone, p99",
        f"{1000 * statistics.median(p99):.2f} ms",
        f"{1000 * above:.2f} ms above (its p99: {1000 * bare_p99:.2f})",
        "under 5 ms above it",
        reached=above < 0.005,
    )


def _peers_latency(table: Table, peers: dict[str, programs.Peer], bare: float) -> None:
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
