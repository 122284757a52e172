"""The parts of a running instance: something that is started, looked at, and stopped."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import psycopg

from app.embedded import children
from app.embedded.children import never
from app.embedded.postgres import Postgres
from app.embedded.redis import RedisServer


class Part(Protocol):
    """What the supervisor knows of a part."""

    name: str

    def start(self) -> None:
        """Start it; return when it can be used, or at once when others can wait for it."""

    def stop(self, is_hurried: Callable[[], bool] = never) -> bool:
        """Stop it and wait; tell whether it went by itself. Kills it as soon as `is_hurried()`."""

    def ending(self) -> str | None:
        """Return None while it runs, else how it ended."""

    def pid(self) -> int | None:
        """Return the id of its process, None when there is none."""


@dataclass
class Program:
    """A part that is one program of ours, such as the web server or a worker."""

    name: str
    command: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    pass_fds: Sequence[int] = ()
    grace_seconds: float = 20.0
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start the program."""
        self._process = children.spawn(self.command, cwd=self.cwd, env=self.env, pass_fds=self.pass_fds)

    def stop(self, is_hurried: Callable[[], bool] = never) -> bool:
        """Ask it to end, wait `grace_seconds`, then kill it and what it started."""
        if self._process is None:
            return True
        went = children.end(self._process, signal.SIGTERM, self.grace_seconds, is_hurried)
        self._process = None
        return went

    def ending(self) -> str | None:
        """Return how it ended; what it left in its process group is killed."""
        ended = _ending(self._process)
        if ended and self._process is not None:
            children.kill_session(self._process.pid)
        return ended

    def pid(self) -> int | None:
        """Return its process id."""
        return self._process.pid if self._process else None


@dataclass
class Database:
    """The embedded PostgreSQL."""

    server: Postgres
    name: str = "database"

    def start(self) -> None:
        """Start it, with the database `throughline` in it."""
        self.server.start()
        self.server.make_database()

    def revision(self) -> str:
        """Return the revision of its tables, empty before the first migration (asking Alembic takes a second)."""
        with psycopg.connect(self.server.url().replace("+psycopg", "")) as connection:
            found = connection.execute("SELECT to_regclass('alembic_version')").fetchone()
            if not found or found[0] is None:
                return ""
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(found[0]) if found else ""

    def stop(self, is_hurried: Callable[[], bool] = never) -> bool:
        """Stop it; in a hurry without a checkpoint (the next start replays its log)."""
        self.server.stop(is_hurried=is_hurried)
        return True

    def ending(self) -> str | None:
        """Return how it ended."""
        return _ending(self.server.process)

    def pid(self) -> int | None:
        """Return its process id."""
        return self.server.process.pid if self.server.process else None


@dataclass
class Hints:
    """The embedded Redis."""

    server: RedisServer
    name: str = "Redis"

    def start(self) -> None:
        """Start it."""
        self.server.start()

    def stop(self, is_hurried: Callable[[], bool] = never) -> bool:
        """Stop it (there is nothing to save, so a hurry changes nothing)."""
        del is_hurried
        self.server.stop()
        return True

    def ending(self) -> str | None:
        """Return how it ended."""
        return _ending(self.server.process)

    def pid(self) -> int | None:
        """Return its process id."""
        return self.server.process.pid if self.server.process else None


def _ending(process: subprocess.Popen[bytes] | None) -> str | None:
    code = process.poll() if process else None
    if code is None:
        return None
    return f"ended with status {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
