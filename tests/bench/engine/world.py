"""PostgreSQL with fsync, Redis, databases and worker processes: what the engine's measurements share."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import psycopg

from app import create_app
from app.db import db
from app.engine import runtime as engine_runtime
from app.engine import send
from app.settings import Settings
from tests import schema
from tests.services import Services, database_url, redis_url, run_sql

ROOT = Path(__file__).resolve().parent.parent.parent.parent
WORKFLOWS = "tests.bench.engine.jobs"
PATIENCE_SECONDS = 120
# The last is the one that fills up with rows, beside an empty one for comparison.
DATABASES = ("bench", "bench_full")
# In two parts, each of which has an index of its own, so that asking costs nothing among 100,000 sleeping runs.
BUSY = """
SELECT EXISTS (SELECT FROM run WHERE status = 'queued' AND held_by IS NULL AND flow_a IS NULL)
  OR EXISTS (SELECT FROM run WHERE status = 'running')
"""
# Rows like one that the engine itself wrote, whatever columns it has, but for those that are named. Their ids are in the
# order of time, as real ones are, and older than those.
COPY = """
INSERT INTO run SELECT copy.*
FROM (SELECT run AS model FROM run WHERE workflow = '{workflow}' ORDER BY id DESC LIMIT 1) AS newest,
  generate_series(1, {number}) AS n,
  jsonb_populate_record(newest.model, jsonb_build_object(
    'id', '{prefix:08x}-0000-7000-8000-' || lpad(to_hex(n), 12, '0'), {changed})) AS copy
"""


class World:
    """The services of one table; `use` makes one of the databases that of this process."""

    def __enter__(self) -> Self:
        self.services = Services()
        self.services.postgres.extra_settings = {}  # with fsync: commits are what is measured
        self.services.start()
        self._copies = itertools.count(1)
        self._states: dict[str, tuple[Any, Any]] = {}
        self._settings: dict[str, Settings] = {}
        for number, name in enumerate(DATABASES):
            run_sql(f"CREATE DATABASE {name}")
            schema.create(database_url(name))
            run_sql("CREATE TABLE bare (id bigserial PRIMARY KEY, value text)", database=name)
            settings = Settings(
                environment="test",
                secret_key="bench-secret-key-of-thirty-two-characters",
                data_dir=self.services.folder,
                database_url=database_url(name),
                redis_url=redis_url(number),
                redis_namespace=name,
                log_level="error",
                workflows=WORKFLOWS,
            )
            app = create_app(settings)
            self._settings[name] = settings
            self._states[name] = (app, engine_runtime.runtime())
        return self

    def __exit__(self, *_error: object) -> None:
        self.services.stop()

    @contextlib.contextmanager
    def use(self, name: str = "bench") -> Iterator[None]:
        """Let `send` and the like go to this database."""
        app, state = self._states[name]
        engine_runtime._current = state
        with app.app_context():
            yield

    def send(self, event: str, *payloads: dict[str, Any], database: str = "bench") -> float:
        """Send events in one transaction; returns the time just before its commit."""
        with self.use(database):
            for payload in payloads:
                send(event, payload, owner_id=None)
            sent_at = time.time()
            db.session.commit()
        return sent_at

    def copy(self, workflow: str, number: int, database: str, **changed: str) -> None:
        """Write copies of a workflow's newest run, with SQL expressions over `n` (from 1) for what is different."""
        pairs = ", ".join(f"'{column}', {expression}" for column, expression in changed.items())
        statement = COPY.format(prefix=next(self._copies), changed=pairs, number=number, workflow=workflow)
        run_sql(statement, database=database)

    def run(self, *statements: str, database: str = "bench") -> None:
        """Run statements, each in a transaction of its own."""
        run_sql(*statements, database=database)

    def rows(self, query: str, *values: object, database: str = "bench") -> list[tuple[Any, ...]]:
        """Read rows on a connection of their own."""
        with connect(database) as connection:
            return connection.execute(query, values).fetchall()

    def scalar(self, query: str, *values: object, database: str = "bench") -> Any:
        """Read one value."""
        return self.rows(query, *values, database=database)[0][0]

    def wait_until_done(self, database: str = "bench", pause: float = 0.02) -> None:
        """Wait until nothing is queued or running."""
        with connect(database) as connection:
            until(lambda: not connection.execute(BUSY).fetchone()[0], pause=pause)

    @contextlib.contextmanager
    def worker(self, database: str = "bench", lease: float = 30.0) -> Iterator[Worker]:
        """Run a worker process inside the block."""
        worker = Worker(self._settings[database], lease)
        try:
            until(lambda: self.scalar("SELECT count(*) FROM worker WHERE pid = %s", worker.pid, database=database))
            time.sleep(1.0)  # its first pass of upkeep and its birth in RQ are no part of any measurement
            yield worker
        finally:
            worker.stop()

    def empty(self, database: str) -> None:
        """Forget all runs."""
        self.run("TRUNCATE run, step, event, flow", database=database)


class Worker:
    """One worker process of the product's kind, with the bench's workflows."""

    def __init__(self, settings: Settings, lease: float) -> None:
        environment = {
            **os.environ,
            "THROUGHLINE_ENV": "test",
            "THROUGHLINE_DATA": str(settings.data_dir),
            "DATABASE_URL": settings.database_url,
            "REDIS_URL": settings.redis_url,
            "REDIS_NAMESPACE": settings.redis_namespace,
            "LOG_LEVEL": "error",
            "BENCH_LEASE": str(lease),
        }
        self.process = subprocess.Popen([sys.executable, "-m", "tests.bench.engine.worker"], cwd=ROOT, env=environment)
        self.pid = self.process.pid

    def kill(self) -> None:
        """Kill it without a chance to say good-bye."""
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        """Ask it to end, and wait for that."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.kill()


def connect(database: str) -> psycopg.Connection[Any]:
    """Open a plain connection."""
    return psycopg.connect(database_url(database).replace("+psycopg", ""), autocommit=True)


def bare_commits(seconds: float = 0.5, threads: int = 1, database: str = "bench") -> list[float]:
    """Commit one-row inserts, on one connection per thread; returns how long each took."""
    taken: list[float] = []

    def work() -> None:
        with connect(database) as connection:
            mine = []
            end = time.perf_counter() + seconds
            while (began := time.perf_counter()) < end:
                connection.execute("INSERT INTO bare (value) VALUES (%s)", ["x"])
                mine.append(time.perf_counter() - began)
            taken.extend(mine)

    together(work, threads)
    return taken


def together(work: Callable[[], None], threads: int) -> None:
    """Do the same in several threads at once."""
    started = [threading.Thread(target=work) for _ in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()


def until(condition: Callable[[], object], seconds: float = PATIENCE_SECONDS, pause: float = 0.02) -> None:
    """Wait for another process to have made `condition` true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"It did not happen within {seconds:.0f} s.")
        time.sleep(pause)
