"""Measure the engine: `python -m tests.bench.engine [--fast]` prints a table of rates and their ratios.

Rates are of this machine and this moment; the ratios against bare commits of the same process and database are what
counts. `--fast` switches fsync off, as in the tests, so that the engine's own work weighs more.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
import threading
import time
from collections.abc import Callable

import psycopg
import sqlalchemy as sa

from app import create_app
from app.db import db
from app.engine import advance, send, testing, workflow
from app.engine.registry import registry
from app.engine.runtime import CONNECTIONS, WORKER_CONNECTIONS, runtime
from app.lib.coalescing import Coalescer
from app.settings import Settings
from tests import schema
from tests.crash.processes import WorkerProcess, wait_until
from tests.services import FAST, Services, database_url, redis_url, run_sql

STEPS = 500
ROUNDS = 7
RUNS = 16
EVENTS = 200


def nothing() -> int:
    """Do nothing: what remains is the engine's own cost."""
    return 1


@workflow("bench-steps", on="bench/steps")
def bench_steps(ctx, step):
    for _ in range(ctx.event.data["steps"]):
        step.run("step", nothing)


def bare_commits(seconds: float = 2.0, threads: int = 1) -> float:
    """Return one-row commits per second, on one connection per thread."""
    counts: list[int] = []
    address = database_url("bench").replace("+psycopg", "")

    def work() -> None:
        with psycopg.connect(address, autocommit=True) as connection:
            done, end = 0, time.perf_counter() + seconds
            while time.perf_counter() < end:
                connection.execute("INSERT INTO bare (value) VALUES (%s)", ["x"])
                done += 1
            counts.append(done)

    _together(work, threads)
    return sum(counts) / seconds


def durable_steps(runs: int, steps: int) -> float:
    """Return remembered steps per second of `runs` runs at once, in this process."""
    for _ in range(runs):
        send("bench/steps", {"steps": steps}, owner_id=None)
    db.session.commit()
    claimed = []
    while len(claimed) < runs:
        claimed += advance.claim_batch("bench", runs)
    work = iter(claimed)
    lock = threading.Lock()

    def one() -> None:
        with lock:
            run, at = next(work)
        assert advance.advance(run, at) == "completed"

    begin = time.perf_counter()
    _together(one, runs)
    return runs * steps / (time.perf_counter() - begin)


def event_to_first_step(settings: Settings, events: int) -> list[float]:
    """Return seconds from just before the sender's commit to inside the first step, in an idle worker process."""
    worker = WorkerProcess(settings, lease=30)
    try:
        wait_until(lambda: _scalar("SELECT count(*) FROM worker WHERE kind = 'worker' AND busy = 0"), 30)
        time.sleep(1.5)
        taken = []
        for _ in range(events):
            sent_at = time.time()
            send("bench/stamp", {}, owner_id=None)
            db.session.commit()
            wait_until(lambda: not _scalar("SELECT count(*) FROM run WHERE status IN ('queued', 'running')"))
            output = "SELECT step.output #>> '{}' FROM step JOIN run ON run.id = run_id WHERE workflow = 'stamp'"
            stamp = _scalar(f"{output} ORDER BY run.id DESC LIMIT 1")
            taken.append(float(stamp) - sent_at)
        return taken
    finally:
        worker.stop()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", action="store_true", help="switch fsync off")
    services = Services()
    services.postgres.extra_settings = FAST if parser.parse_known_args()[0].fast else {}
    services.start()
    try:
        run_sql("CREATE DATABASE bench")
        schema.create(database_url("bench"))
        run_sql("CREATE TABLE bare (id bigserial PRIMARY KEY, value text)", database="bench")
        settings = Settings(
            environment="test",
            secret_key="bench-secret-key-of-thirty-two-characters",
            data_dir=services.folder,
            database_url=database_url("bench"),
            redis_url=redis_url(0),
            log_level="error",
        )
        app = create_app(settings)
        with app.app_context(), testing.isolated_registry():
            _measure(settings)
    finally:
        services.stop()


def _measure(settings: Settings) -> None:
    register_jobs()
    publisher = Coalescer(runtime().ports.publish)
    threading.Thread(target=publisher.loop, daemon=True).start()
    runtime().announce = publisher.add  # as in a worker process, where no step waits for Redis
    runtime().pool.grow(WORKER_CONNECTIONS - CONNECTIONS)
    durable_steps(1, 50)
    _compare("one run alone", lambda: bare_commits(0.5), lambda: durable_steps(1, STEPS))
    _compare("16 runs at once", lambda: bare_commits(0.5, RUNS), lambda: durable_steps(RUNS, STEPS // RUNS))
    taken = sorted(1000 * seconds for seconds in event_to_first_step(settings, EVENTS))
    percentiles = statistics.quantiles(taken, n=100)
    say(f"{'event to first step, idle worker, p50':50} {percentiles[49]:7.1f} ms   target 15 ms")
    say(f"{'event to first step, idle worker, p99':50} {percentiles[98]:7.1f} ms   target 50 ms")
    publisher.close()


def register_jobs() -> None:
    """Register the crash tests' workflows, also when another measurement had them and has forgotten them since."""
    from tests.crash import engine_jobs

    if "stamp" not in registry.by_name:
        importlib.reload(engine_jobs)


def say(line: str) -> None:
    """Print a line of the table at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _compare(what: str, baseline: Callable[[], float], engine: Callable[[], float]) -> None:
    """Print both rates and their ratio: the medians of rounds in turn, so that a busy machine hurts both alike."""
    rounds = [(baseline(), engine()) for _ in range(ROUNDS)]
    bare, steps = (statistics.median(column) for column in zip(*rounds, strict=True))
    ratio = statistics.median(steps / bare for bare, steps in rounds)
    say(f"{'bare one-row commits a second, ' + what:50} {bare:8.0f}")
    say(f"{'durable steps a second, ' + what:50} {steps:8.0f}   {ratio:5.0%} of bare commits")


def _together(work: Callable[[], None], threads: int) -> None:
    started = [threading.Thread(target=work) for _ in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()


def _scalar(statement: str) -> object:
    with db.engine.connect() as connection:
        return connection.scalar(sa.text(statement))


if __name__ == "__main__":
    main()
