"""From `kill -9` of a worker in the middle of a step to that step beginning again in another one."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from tests.bench.engine.table import Table
from tests.bench.engine.world import World, until

LEASE_SECONDS = 2.0  # instead of 30, so that three crashes take seconds; what is added to it is the same
MARGIN_SECONDS = 2.0
CRASHES = 3
OWNER = "SELECT worker.pid FROM run JOIN worker ON worker.name = run.worker WHERE run.status = 'running'"
RESUMED = """
SELECT (step.output #>> '{}')::float8 FROM run JOIN step ON step.run_id = run.id AND step.key = 'hang'
WHERE run.workflow = 'bench-hang' ORDER BY run.id DESC LIMIT 1
"""


def measure(world: World, table: Table) -> None:
    """Print the row of crashes."""
    taken = []
    with contextlib.ExitStack() as workers:
        workers.enter_context(world.worker(lease=LEASE_SECONDS))
        for number in range(CRASHES):
            workers.enter_context(world.worker(lease=LEASE_SECONDS))
            marker = world.services.folder / f"hangs-{number}"
            world.send("bench/hang", {"marker": str(marker)})
            until(marker.exists)
            os.kill(world.scalar(OWNER), signal.SIGKILL)
            killed_at = time.time()
            world.wait_until_done()
            taken.append(world.scalar(RESUMED) - killed_at)
            Path(marker).unlink()
    table.row(
        f"kill -9 to resumed elsewhere, lease {LEASE_SECONDS:g} s, worst of {CRASHES}",
        f"{max(taken):.2f} s",
        f"{max(taken) / LEASE_SECONDS:.2f} x the lease",
        f"under lease + {MARGIN_SECONDS:g} s",
        reached=max(taken) < LEASE_SECONDS + MARGIN_SECONDS,
    )
