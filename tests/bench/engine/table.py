"""The table of what the engine must reach: `python -m tests.bench engine [engine.steps engine.latency ...]`.

Rates are of this machine and this moment; the ratios against a baseline of the same minute are what counts. A part that
crashes is a row that says so, and the table goes on.
"""

from __future__ import annotations

import importlib
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import psutil

from tests.bench.engine.world import World

# In this order: what needs a quiet machine comes first, what fills the tables with rows comes last.
PARTS = ("steps", "latency", "waiting", "crash", "sleeping", "blocked")
LONGEST_SECONDS, FEWEST_ROUNDS = 45.0, 3  # of measuring things in turn
QUIET_SECONDS = 3.0  # how long we look at what else the machine does
WIDTHS = (58, 26, 30, 20)


@dataclass
class Table:
    """Rows are printed as they come, for a measurement may take a minute."""

    missed: list[str] = field(default_factory=list)

    def row(
        self, what: str, measured: str, against: str = "", target: str = "", *, reached: bool | None = None
    ) -> None:
        """Print what was measured, against which baseline, and whether the target was reached."""
        verdict = {True: "reached", False: "MISSED", None: ""}[reached]
        if reached is False:
            self.missed.append(what)
        cells = zip((what, measured, against, target), WIDTHS, strict=True)
        sys.stdout.write("".join(f"{text:{width}} " for text, width in cells).rstrip() + f"  {verdict}".rstrip() + "\n")
        sys.stdout.flush()

    def milliseconds(self, what: str, seconds: Sequence[float], bare: float, target: float, percent: int = 50) -> None:
        """Print a percentile, and how many bare commits (each of `bare` seconds) it is, against a target in ms."""
        found = percentile(seconds, percent)
        self.row(
            f"{what}, p{percent}",
            f"{1000 * found:.1f} ms (of {len(seconds)})",
            f"{found / bare:.1f} x a bare commit",
            f"under {target:g} ms",
            reached=1000 * found < target,
        )

    def missing(self, what: str, why: str) -> None:
        """Say that something could not be measured."""
        self.row(what, f"not measured: {why}")


def print_table(parts: Sequence[str]) -> None:
    """Measure the named parts, or all."""
    unknown = set(parts) - set(PARTS)
    if unknown:
        sys.stdout.write(f"No part is called {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}.\n")
        return
    others = psutil.cpu_percent(QUIET_SECONDS) / 100
    table, began = Table(), time.monotonic()
    table.row("what", "measured", "against", "target")
    with World() as world:
        for name in parts or PARTS:
            try:
                importlib.import_module(f"tests.bench.engine.{name}").measure(world, table)
            except Exception as error:  # noqa: BLE001  the other parts are worth their rows all the same
                traceback.print_exc()
                table.row(f"THE PART {name!r} CRASHED", f"{type(error).__name__}: {error}", reached=False)
    took = f"{time.monotonic() - began:.0f} s; {others:.0%} of the processors were busy with other things before it"
    sys.stdout.write(f"{took}; missed: {'; '.join(table.missed) or 'nothing'}\n")


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that `percent` per cent of `values` do not exceed."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def in_turn(rounds: int, measurements: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Measure each in turn, round after round, so that a busy machine hurts all alike; the first round warms up.

    On a machine so busy that the time is up, there are fewer rounds.
    """
    found: dict[str, list[float]] = {name: [] for name in measurements}
    deadline = time.monotonic() + LONGEST_SECONDS
    for number in range(rounds + 1):
        for name, measurement in measurements.items():
            value = measurement()
            if number:
                found[name].append(value)
        if number >= FEWEST_ROUNDS and time.monotonic() > deadline:
            break
    return found


def ratio(ours: Sequence[float], others: Sequence[float]) -> float:
    """Return the median of the rounds' ratios."""
    return statistics.median(_ratios(ours, others))


def _ratios(ours: Sequence[float], others: Sequence[float]) -> Iterator[float]:
    return (mine / other for mine, other in zip(ours, others, strict=True))
