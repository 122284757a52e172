"""The workflows that are measured."""

from __future__ import annotations

import inspect
import os
import time
from pathlib import Path

from app.engine import Concurrency, workflow


def nothing() -> int:
    """Do nothing: what remains is the engine's own cost."""
    return 1


def nap() -> None:
    """Take 100 ms, as a call outside would."""
    time.sleep(0.1)


def hang_once(marker: str) -> float:
    """Hang in the first process that comes here; return the time in the next one."""
    if Path(marker).exists():
        return time.time()
    Path(marker).touch()
    time.sleep(600)
    return 0.0


@workflow("bench-steps", on="bench/steps")
def steps(ctx, step):
    """Return the microseconds that each step took, as the body sees them."""
    taken, began = [], time.perf_counter()
    for _ in range(ctx.event.data["steps"]):
        step.run("step", nothing)
        ended = time.perf_counter()
        taken.append(round(1e6 * (ended - began)))
        began = ended
    return taken


@workflow("bench-stamp", on="bench/stamp")
def stamp(ctx, step):
    step.run("stamp", time.time)


@workflow("bench-parallel", on="bench/parallel")
def parallel(ctx, step):
    step.map("naps", lambda s, _: s.run("nap", nap), range(20), limit=20)


@workflow("bench-long", on="bench/long")
def long(ctx, step):
    for _ in range(200):
        step.run("step", nothing)
    step.run("next", nothing)


@workflow("bench-hang", on="bench/hang")
def hang(ctx, step):
    step.run("before", nothing)
    step.run("hang", hang_once, ctx.event.data["marker"])


@workflow("bench-limited", on="bench/limited", concurrency=[Concurrency(1, key="event.data.key")])
def limited(ctx, step):
    step.run("stamp", time.time)


@workflow("bench-ticks", on="bench/ticks")
def ticks(ctx, step):
    def tick() -> float:
        time.sleep(0.15)
        return time.time()

    for number in range(ctx.event.data["number"]):
        step.run(f"tick-{number}", tick)


@workflow("bench-wait", on="bench/wait")
def wait(ctx, step):
    step.wait_for_event("go", "bench/go", match="data.key", timeout="5m")
    step.run("stamp", time.time)


# A checkout may not have them yet; the bench then says so.
HAS_ISOLATED = "isolated" in inspect.signature(workflow).parameters

if HAS_ISOLATED:

    @workflow("bench-isolated", on="bench/isolated", isolated=True)
    def isolated(ctx, step):
        step.run("stamp", time.time)
        step.run("pid", os.getpid)
