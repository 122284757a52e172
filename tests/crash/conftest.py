"""Fixtures of the crash tests: workflows, the table of effects, worker processes that end with the test."""

from __future__ import annotations

import importlib

import pytest
import sqlalchemy as sa

from app.db import db
from app.engine.registry import registry
from app.engine.testing import isolated_registry
from tests.crash import engine_jobs
from tests.crash.processes import WorkerProcess


@pytest.fixture
def effects(app, execute):
    """The engine tests' workflows in this process, too; returns (run, step) of the effects so far."""
    with isolated_registry():
        registry.by_name.clear()
        importlib.reload(engine_jobs)
        execute(engine_jobs.CREATE)

        def read(**wanted):
            with db.engine.connect() as connection:
                rows = connection.execute(
                    sa.text("SELECT run, step, pid, at, until FROM effect ORDER BY id")
                ).mappings()
                return [row for row in rows if all(row[key] == value for key, value in wanted.items())]

        yield read
    execute("DROP TABLE effect")


@pytest.fixture
def start_worker(settings, effects):
    """Start a worker process; whatever still runs at the end of the test is killed."""
    started: list[WorkerProcess] = []

    def start(lease: float = 2.0, settings=settings, strike: str = "") -> WorkerProcess:
        started.append(WorkerProcess(settings, lease, strike))
        return started[-1]

    yield start
    for worker in started:
        worker.kill()


@pytest.fixture
def statuses(app):
    """Read the number of runs by status, on a fresh snapshot."""

    def read(workflow: str | None = None) -> dict[str, int]:
        where = "" if workflow is None else " WHERE workflow = :workflow"
        query = sa.text(f"SELECT status, count(*) FROM run{where} GROUP BY status")
        with db.engine.connect() as connection:
            values = {} if workflow is None else {"workflow": workflow}
            return dict(connection.execute(query, values).all())

    return read
