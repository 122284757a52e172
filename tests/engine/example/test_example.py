"""The engine is used by a project that has nothing of the product: other tables, no Flask, no Redis."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import process_number
from tests.services import database_url, run_sql
from tests.test_architecture import ROOT


@pytest.fixture
def empty_database():
    name = f"shop_{process_number()}"
    run_sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}")
    yield database_url(name)
    run_sql(f"DROP DATABASE {name} WITH (FORCE)")


def visit(url, how):
    command = [sys.executable, "-m", "tests.engine.example.visit", url, how]
    # Only what a process needs to start: none of the product's settings.
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stdout


@pytest.mark.parametrize("how", ["drain", "worker"])
def test_a_project_with_its_own_two_workflows_uses_the_engine_alone(empty_database, how):
    seen, log = visit(empty_database, how)
    assert (seen["status"], seen["output"], seen["sold"]) == ("completed", {"left": 2, "parcel": 6}, 1)
    assert "[error" not in log
    assert "Commit what was sent" in seen["refused"]
    found = set(seen["modules"])
    assert "app.engine.testing" in found
    assert {name for name in found if not name.startswith(("app.engine", "app.lib"))} == {"app"}
