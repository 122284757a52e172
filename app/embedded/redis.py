"""An embedded Redis in a folder, on a unix socket."""

from __future__ import annotations

import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import redis

from app.embedded import accounts, binaries, children
from app.embedded.errors import CannotStart, no_space
from app.embedded.sockets import socket_folder

START_SECONDS = 60
LOG_BYTES = 10_000_000


@dataclass
class RedisServer:
    """One redis-server whose log lives under `folder`; it keeps nothing, and ends with the process that started it."""

    folder: Path
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def socket(self) -> Path:
        """The server's socket."""
        return socket_folder(self.folder, longest="redis.sock") / "redis.sock"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.folder / "redis.log"

    def url(self, database: int = 0) -> str:
        """Return the address of one numbered database."""
        return f"unix://{quote(str(self.socket))}?db={database}"

    def start(self) -> None:
        """Start the server and wait until it answers (60 s at most).

        A server which a crashed start left on this folder is stopped first.

        Raises:
            CannotStart: it did not start.
        """
        for part in (self.folder, self.socket.parent):
            if not part.exists():
                part.mkdir(mode=0o700, parents=True)
                accounts.give(part)
        self._end_leftover()
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "pidfile": str(self.folder / "redis.pid"),
            "databases": "64",
            "appendonly": "no",  # the database is the only truth: losing Redis loses latency, never work
            "save": "",
        }
        with self.log.open("ab") as out:
            self.process = children.spawn(
                [str(binaries.redis_program()), *(w for name, v in options.items() for w in (f"--{name}", v))],
                cwd=self.folder,
                env={"PATH": "/usr/bin:/bin"},
                output=out,
                as_service=True,
            )
        self._wait_until_ready()

    def stop(self) -> None:
        """Stop the server and wait for it."""
        if self.process is None:
            return
        children.end(self.process, signal.SIGTERM, 10)
        self.process = None

    def _end_leftover(self) -> None:
        try:
            pid = int((self.folder / "redis.pid").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        leftover = children.find(pid, name="redis-server", cwd=self.folder)
        if leftover is not None:
            children.end_found(leftover, signal.SIGTERM, 10)

    def _wait_until_ready(self) -> None:
        assert self.process is not None  # noqa: S101  (just started)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                said = self.log.read_bytes()[-1500:].decode(errors="replace")
                if "No space left on device" in said:
                    raise no_space(self.folder)
                raise CannotStart(f"The embedded Redis did not start; {self.log} says more.\n{said}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        client = redis.Redis(unix_socket_path=str(self.socket), socket_timeout=1)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()
