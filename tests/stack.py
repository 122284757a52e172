"""A whole Throughline of real processes (`throughline up`) for tests that use it as people and programs do."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import httpx2
import psutil

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 60


def free_port() -> int:
    """Return a loopback port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Stack:
    """`throughline up` in a folder of its own; use as a context manager."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("OPENAI", "TEST_"))},
            "THROUGHLINE_DATA": str(folder),
            "PORT": str(self.port),
            "RATE_LIMITS": "off",
            **environment,
        }
        self.output = folder.parent / f"{folder.name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def start(self) -> None:
        with self.output.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "app.cli", "up"], cwd=ROOT, env=self.environment, stdout=out, stderr=out
            )
        self.wait_ready()

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def wait_ready(self) -> None:
        """Wait until /readyz answers 200."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self.process is not None and self.process.poll() is not None:
                raise AssertionError(f"`throughline up` ended: {self.log()}")
            with contextlib.suppress(httpx2.HTTPError):
                if httpx2.get(f"{self.url}/readyz", timeout=2).status_code == 200:
                    return
            time.sleep(0.1)
        raise AssertionError(f"not ready after {READY_SECONDS} s: {self.log()}")

    def sign_in_link(self) -> str:
        """Return the administrator's link, once it is printed."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            found = re.search(r"http://\S+/sign-in/link/\S+", self.log())
            if found:
                return found[0]
            time.sleep(0.1)
        raise AssertionError(f"no link was printed: {self.log()}")

    def log(self) -> str:
        return self.output.read_text(encoding="utf-8", errors="replace")[-4000:]

    def cli(self, *arguments: str) -> str:
        """Run `throughline ARGUMENTS` beside the running stack and return its standard output."""
        done = subprocess.run(
            [sys.executable, "-m", "app.cli", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def api(self, email: str) -> httpx2.Client:
        """Return an HTTP client with a fresh key of the person."""
        key = self.cli("key", "create", email).strip()
        return httpx2.Client(base_url=self.url, headers={"Authorization": f"Bearer {key}"}, timeout=60)

    def processes(self, part: str) -> list[psutil.Process]:
        """Return the running processes of one part, for example `jobs.worker`."""
        assert self.process is not None
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if part in " ".join(child.cmdline()):
                    found.append(child)
        return found


def wait_final(client: httpx2.Client, video_id: str, seconds: float = 120) -> dict:
    """Poll a video until its status is final and return it."""
    deadline = time.monotonic() + seconds
    video: dict = {}
    while time.monotonic() < deadline:
        video = client.get(f"/api/videos/{video_id}").json()
        if video["status"] in ("completed", "failed", "cancelled"):
            return video
        time.sleep(0.25)
    raise AssertionError(f"still {video.get('status')} after {seconds} s: {video.get('progress')}")
