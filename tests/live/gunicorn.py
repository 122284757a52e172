"""A real gunicorn with gevent workers, as in production, on one port that it keeps over restarts."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from app.settings import Settings
from tests.signals import eventually

ROOT = Path(__file__).resolve().parent.parent.parent


class Gunicorn:
    """Serves `tests.live.served:app` on the test's database and Redis."""

    def __init__(self, settings: Settings, processes: int = 1) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self._environment = {
            "PATH": os.environ["PATH"],
            "THROUGHLINE_ENV": "test",
            "SECRET_KEY": settings.secret_key,
            "THROUGHLINE_DATA": str(settings.data_dir),
            "DATABASE_URL": settings.database_url,
            "REDIS_URL": settings.redis_url,
            "REDIS_NAMESPACE": settings.redis_namespace,
            "PORT": str(self.port),
            "WEB_PROCESSES": str(processes),
            "LOG_LEVEL": "error",
        }

    def start(self) -> None:
        """Start, and wait until it answers."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "tests.live.served:app"],
            cwd=ROOT,
            env=self._environment,
        )
        eventually(self._answers, 60)

    def stop(self) -> None:
        """Stop as a deploy does, and wait for the end."""
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(40)
            self.process = None

    def kill(self) -> None:
        """End it without a warning, with its workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in [self.process.pid, *map(int, children)]:
            os.kill(pid, signal.SIGKILL)
        self.process.wait(10)
        self.process = None

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()
