"""Real worker processes of a test: started, killed, frozen, waited for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from app.settings import Settings

ROOT = Path(__file__).resolve().parent.parent.parent


class WorkerProcess:
    """One `python -m tests.crash.engine_worker`; one that strikes itself is of the engine alone, which starts sooner."""

    def __init__(self, settings: Settings, lease: float = 2.0, strike: str = "") -> None:
        environment = {
            **os.environ,
            "THROUGHLINE_ENV": "test",
            "THROUGHLINE_DATA": str(settings.data_dir),
            "DATABASE_URL": settings.database_url,
            "REDIS_URL": settings.redis_url,
            "REDIS_NAMESPACE": settings.redis_namespace,
            "LOG_LEVEL": os.environ.get("TEST_LOG_LEVEL", "error"),
            "TEST_LEASE": str(lease),
            "TEST_STRIKE": strike,  # see tests.crash.moments
            "TEST_JOBS": "tests.crash.engine_jobs",
        }
        module = "tests.crash.bare_worker" if strike else "tests.crash.engine_worker"
        self.process = subprocess.Popen([sys.executable, "-m", module], cwd=ROOT, env=environment)
        self.pid = self.process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this process."""
        self.process.send_signal(number)

    def is_frozen(self) -> bool:
        """Tell whether it has been stopped by SIGSTOP."""
        return psutil.Process(self.pid).status() == psutil.STATUS_STOPPED

    def is_killed(self) -> bool:
        """Tell whether SIGKILL has ended it."""
        return self.process.poll() == -signal.SIGKILL

    def kill(self) -> None:
        """Kill it without a chance to say good-bye."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)

    def stop(self, timeout: float = 30) -> int:
        """Ask it to end and return its exit code."""
        self.process.terminate()
        return self.process.wait(timeout)


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for another process to have made `condition` true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
