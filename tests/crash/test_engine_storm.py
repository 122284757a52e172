"""A bounded storm: whatever is killed, frozen, flushed or restarted, every run ends and no remembered step repeats."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.crash.processes import ROOT

pytestmark = [pytest.mark.crash, pytest.mark.timeout(240), pytest.mark.xdist_group("crash")]


def test_every_run_ends_each_remembered_effect_happened_once_and_limits_held_over_leases():
    """In a process with a PostgreSQL and a Redis of its own, as `make chaos`: the storm must hurt nobody else."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TEST_")}
    command = [sys.executable, "-m", "tests.crash.storm"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as storm:
        try:
            said, _ = storm.communicate(timeout=230)
        finally:
            storm.terminate()  # it ends its servers and workers
    sys.stdout.write(said)  # the seed, whatever comes of it
    assert storm.returncode == 0, said
