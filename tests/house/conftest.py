"""A real `throughline up` in a folder of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from app.embedded.up import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
QUIET = ("DATABASE_URL", "REDIS_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_URL", "PUBLIC_URL", "SECRET_KEY")


def clean_environment(**changes: str) -> dict[str, str]:
    """Our environment without what would change the product's settings."""
    return {name: value for name, value in os.environ.items() if name not in QUIET} | changes


@dataclass
class Instance:
    """One data folder and the `throughline up` on it."""

    data: Path
    port: int = field(default_factory=free_port)
    extra: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    process: subprocess.Popen | None = None
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def environment(self) -> dict[str, str]:
        names = {"THROUGHLINE_DATA": str(self.data), "PORT": str(self.port), "WEB_PROCESSES": "1", "LOG_LEVEL": "error"}
        return clean_environment(**names) | self.extra

    def start(self) -> Instance:
        """Start it; its lines are collected as they come."""
        self.lines = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "up"],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        return self

    def wait_for(self, words: str, seconds: float = 60) -> str:
        """Return the first line that contains `words`, as soon as it is printed."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                for line in self.lines:
                    if words in line:
                        return line
                left = deadline - time.monotonic()
                assert left > 0, f"{words!r} was not said in {seconds} s, but:\n{''.join(self.lines)}"
                assert self.process.poll() is None or self._changed.wait(1) or words in "".join(self.lines), (
                    f"It ended without saying {words!r}:\n{''.join(self.lines)}"
                )
                self._changed.wait(min(left, 1))

    def wait_until_ready(self) -> Instance:
        """Return when every part has been started."""
        self.wait_for("Press Ctrl-C")
        return self

    def run(self, *arguments: str) -> subprocess.CompletedProcess:
        """Run another `throughline` command on the same folder."""
        return subprocess.run(
            [sys.executable, "-m", "app.cli", *arguments],
            cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def get(self, path: str) -> tuple[int, str]:
        """Fetch a page."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def processes(self) -> list[psutil.Process]:
        """Every process of the instance, the first one included."""
        top = psutil.Process(self.process.pid)
        return [top, *top.children(recursive=True)]

    def part(self, words: str) -> psutil.Process:
        """The direct child whose command line contains `words`."""
        return next(
            child
            for child in psutil.Process(self.process.pid).children()
            if words in " ".join(child.cmdline())
        )  # fmt: skip

    def stop(self, sign: int = signal.SIGINT) -> int:
        """Stop it and return its status."""
        self.process.send_signal(sign)
        return self.process.wait(60)

    def running(self) -> dict:
        """What `running.json` says."""
        return json.loads((self.data / "running.json").read_text())

    def _read(self, process: subprocess.Popen) -> None:
        with process.stdout as said:
            for line in said:
                with self._changed:
                    self.lines.append(line)
                    self._changed.notify_all()


@contextlib.contextmanager
def instance(**extra: str) -> Iterator[Instance]:
    """Make a folder that the service account may enter, and clean up whatever happens."""
    data = Path(tempfile.mkdtemp(prefix="tl-up-", dir="/tmp"))
    data.chmod(0o755)
    made = Instance(data / "data", extra=extra)
    try:
        yield made
    finally:
        if made.process is not None and made.process.poll() is None:
            left = made.processes()
            made.stop(signal.SIGTERM)
            psutil.wait_procs(left, 10)
        shutil.rmtree(data, ignore_errors=True)


@pytest.fixture(scope="module")
def running() -> Iterator[Instance]:
    """An instance that runs; tests of one module share it."""
    with instance() as made:
        yield made.start().wait_until_ready()


@pytest.fixture
def fresh() -> Iterator[Instance]:
    """An instance not yet started."""
    with instance() as made:
        yield made
