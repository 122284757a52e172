"""An embedded PostgreSQL in a folder: initdb once, then start and stop."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
import psycopg.sql

from app.embedded import accounts, binaries, children
from app.embedded.errors import CannotStart, no_space
from app.embedded.sockets import socket_folder

START_SECONDS = 60
LOG_BYTES = 10_000_000
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


@dataclass
class Postgres:
    """One PostgreSQL server whose data lives under `folder`; it ends when the process that started it ends."""

    folder: Path
    extra_settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def data(self) -> Path:
        """The cluster's data folder."""
        return self.folder / "pgdata"

    @property
    def socket_folder(self) -> Path:
        """Where the server's socket is made."""
        return socket_folder(self.folder / "run", longest=".s.PGSQL.5432")

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.folder / "postgres.log"

    def url(self, database: str = "throughline") -> str:
        """Return the address of `database` for SQLAlchemy."""
        password = (self.folder / "password").read_text(encoding="utf-8").strip()
        return f"postgresql+psycopg://throughline:{password}@/{database}?host={quote(str(self.socket_folder))}"

    def start(self) -> None:
        """Create the cluster when it is missing, start it, and wait until it answers (60 s at most).

        A server which a crashed start left on this folder is stopped first.

        Raises:
            CannotStart: it did not start; the message says why as far as its log does.
        """
        self._make_folders()
        self._end_leftovers()
        if not self.data.exists():
            self._initdb()
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        settings = {**SETTINGS, **self.extra_settings}
        with self.log.open("ab") as out:
            logged = out.tell()
            self.process = children.spawn(
                [
                    str(binaries.postgres_folder() / "postgres"),
                    *("-D", str(self.data), "-k", str(self.socket_folder)),
                    *(word for name, value in settings.items() for word in ("-c", f"{name}={value}")),
                ],
                cwd=self.folder,
                env=ENVIRONMENT,
                output=out,
                death_signal=signal.SIGINT,  # to PostgreSQL: a fast, clean shutdown
                as_service=True,
            )
        self._wait_until_ready(logged)

    def make_database(self, name: str = "throughline") -> None:
        """Create the database `name` unless it is there."""
        address = self.url("postgres").replace("+psycopg", "")
        with psycopg.connect(address, autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
                connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))

    def stop(self, mode: str = "fast", is_hurried: Callable[[], bool] = children.never) -> None:
        """Stop the server and wait for it (`mode`: fast, or immediate to skip the checkpoint).

        As soon as somebody is in a hurry, fast becomes immediate: the next start then replays the log.
        """
        if self.process is None:
            return
        if mode == "fast":
            children.ask(self.process, signal.SIGINT, 60, is_hurried)
        children.end(self.process, signal.SIGQUIT, 60)
        self.process = None
        self._end_leftovers()  # when it was killed before we asked

    def _make_folders(self) -> None:
        for part in (self.folder, self.socket_folder):
            if not part.exists():
                part.mkdir(mode=0o700, parents=True)
                accounts.give(part)
        account = accounts.service_account()
        wanted = account.pw_uid if account else os.geteuid()
        if self.data.exists() and self.data.stat().st_uid != wanted:
            raise CannotStart(
                f"The database in {self.data} belongs to another account of this machine. "
                "Start Throughline as the account that made it, or choose another folder with THROUGHLINE_DATA."
            )

    def _end_leftovers(self) -> None:
        """End what a server that was killed left here: itself, or backends that have outlived it.

        A backend in the middle of a query does not notice that its server is gone, and beside it a new one
        refuses to start.
        """
        status = self.data / "postmaster.pid"
        try:
            pid = abs(int(status.read_text(encoding="utf-8").split("\n", 1)[0]))
        except (OSError, ValueError):
            return
        server = children.find(pid, name="postgres", cwd=self.data)
        if server is not None:
            children.end_found(server, signal.SIGINT, 60)
        for backend in children.find_all(name="postgres", cwd=self.data):
            children.end_found(backend, signal.SIGQUIT, 5)
        if psutil.pid_exists(pid):
            status.unlink(missing_ok=True)  # another program has the number by now; PostgreSQL would wait for its end

    def _wait_until_ready(self, logged: int) -> None:
        assert self.process is not None  # noqa: S101  (just started)
        status = self.data / "postmaster.pid"
        deadline = time.monotonic() + START_SECONDS
        while True:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop("immediate")
                raise self._failure("did not start", self.log.read_bytes()[logged:].decode(errors="replace"))
            try:
                lines = status.read_text(encoding="utf-8").splitlines()
            except OSError:
                lines = []
            # The eighth line of postmaster.pid is the server's own word for its state.
            if len(lines) > 7 and lines[7].strip() == "ready" and int(lines[0]) == self.process.pid:  # noqa: PLR2004
                return
            time.sleep(0.02)

    def _initdb(self) -> None:
        """Make the cluster under another name first: one that was cut short must never pass for a whole one."""
        partial, password = self.data.with_suffix(".partial"), self.folder / "password"
        shutil.rmtree(partial, ignore_errors=True)
        password.unlink(missing_ok=True)
        password.touch(mode=0o600)
        password.write_text(secrets.token_urlsafe(24), encoding="utf-8")
        accounts.give(password)
        making = children.spawn(
            [
                str(binaries.postgres_folder() / "initdb"),
                *("-D", str(partial), "-U", "throughline", "-A", "scram-sha-256"),
                *(f"--pwfile={password}", "-E", "UTF8", "--locale=C.UTF-8", "--no-instructions"),
            ],
            cwd=self.folder,
            env=ENVIRONMENT,
            output=subprocess.PIPE,  # not the log: on a full disk nobody could read there that it is full
            as_service=True,
        )
        said, _ = making.communicate()
        if making.returncode:
            raise self._failure("could not make its folder", said.decode(errors="replace"))
        partial.rename(self.data)

    def _failure(self, what: str, output: str) -> CannotStart:
        if "No space left on device" in output:
            return no_space(self.folder)
        return CannotStart(f"The embedded PostgreSQL {what}; {self.log} says more.\n{output.strip()[-1500:]}")
