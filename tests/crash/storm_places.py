"""What the storm strikes: a PostgreSQL, a Redis and workers of its own, in a folder of their own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
import redis

from app.embedded import children
from app.embedded.postgres import Postgres
from app.embedded.redis import RedisServer
from tests.crash.processes import ROOT, wait_until

LEASE = 2.0
WIDEN = 0.08  # seconds for which workers stay in dangerous moments (see tests.crash.moments)


class StormWorker:
    """One `python -m tests.crash.bare_worker`; it dies with this process."""

    def __init__(self, number: int, folder: Path, environment: dict[str, str]) -> None:
        self.log = folder / f"worker-{number}.log"
        with self.log.open("ab") as out:
            self.process = children.spawn(
                [sys.executable, "-m", "tests.crash.bare_worker"],
                cwd=ROOT,
                env={**os.environ, **environment},
                output=out,
                death_signal=signal.SIGKILL,
            )
        self.pid = self.process.pid

    def kill(self) -> None:
        """Kill it without a chance to say good-bye."""
        self.process.kill()
        self.process.wait(10)

    def is_listening(self) -> bool:
        """Tell whether it has come so far that it hears SIGTERM (or has ended)."""
        return b'"worker.started"' in self.log.read_bytes() or self.process.poll() is not None

    def left(self, seconds: float) -> str | None:
        """Wait until it has left; returns what is wrong about how it did."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return f"worker {self.pid} hung: it did not leave within {seconds:g} s of SIGTERM, see {self.log}"
        return None if code == 0 else f"worker {self.pid} left with {code}, see {self.log}"


class Places:
    """PostgreSQL, Redis and the workers of one storm."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tl-storm-", dir="/tmp"))
        self.folder.chmod(0o755)
        # Not `synchronous_commit`: a crash of the server must lose nothing that it has confirmed.
        self.postgres = Postgres(self.folder / "pg", extra_settings={"fsync": "off"})
        self.redis = RedisServer(self.folder / "redis")
        self.workers: list[StormWorker] = []
        self._started = 0

    def start(self) -> None:
        """Start the servers."""
        self.postgres.start()
        self.postgres.make_database("storm")
        self.redis.start()

    @property
    def database_url(self) -> str:
        """The address of the storm's database."""
        return self.postgres.url("storm")

    def connect(self) -> psycopg.Connection:
        """Open a connection of one's own."""
        return psycopg.connect(self.database_url.replace("+psycopg", ""), autocommit=True, connect_timeout=10)

    def start_worker(self, strike: str = "") -> StormWorker:
        """Start one more worker, which may be told to strike itself (see tests.crash.moments)."""
        self._started += 1
        environment = {
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis.url(),
            "REDIS_NAMESPACE": "bare",
            "TEST_LEASE": str(LEASE),
            "TEST_JOBS": "tests.crash.storm_jobs",
            "TEST_STRIKE": strike,
            "TEST_WIDEN": str(WIDEN),
        }
        worker = StormWorker(self._started, self.folder, environment)
        self.workers.append(worker)
        return worker

    def restart_postgres(self, how: str) -> None:
        """Stop the server (`fast`; `immediate`: as in a crash) and start it again."""
        self.postgres.stop(how)
        self.postgres.start()

    def flush_redis(self) -> bool:
        """Let Redis forget everything; false when it does not answer."""
        client = redis.Redis.from_url(self.redis.url(), socket_timeout=2)
        try:
            client.flushall()
        except redis.RedisError:
            return False
        finally:
            client.close()
        return True

    def hang_redis(self) -> None:
        """Stop Redis from answering, with its connections open."""
        assert self.redis.process is not None
        self.redis.process.send_signal(signal.SIGSTOP)

    def wake_redis(self) -> None:
        """Let it answer again."""
        assert self.redis.process is not None
        self.redis.process.send_signal(signal.SIGCONT)

    def stop_workers(self, seconds: float = 30) -> list[str]:
        """Ask all workers to leave; returns what is wrong about how they did."""
        for worker in self.workers:
            wait_until(worker.is_listening)
            worker.process.terminate()
        end = time.monotonic() + seconds
        wrong = [worker.left(max(end - time.monotonic(), 0.1)) for worker in self.workers]
        return [sentence for sentence in wrong if sentence]

    def close(self, *, keep_folder: bool = False) -> None:
        """End everything, and remove the folder."""
        for worker in self.workers:
            worker.kill()
        with contextlib.suppress(Exception):
            self.wake_redis()
        self.redis.stop()
        self.postgres.stop("immediate")
        if not keep_folder:
            shutil.rmtree(self.folder, ignore_errors=True)
