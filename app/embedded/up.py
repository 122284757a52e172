"""`throughline up`: everything one machine needs, started in order and kept running."""

from __future__ import annotations

import errno
import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import AnyStr

import psutil

from app.embedded import children, workflows
from app.embedded.errors import CannotStart, no_space
from app.embedded.folder import DataFolder
from app.embedded.parts import Database, Hints, Part, Program
from app.embedded.postgres import Postgres
from app.embedded.redis import RedisServer
from app.embedded.signals import Signals, Stop
from app.embedded.supervisor import Supervisor
from app.lib import revisions
from app.lib.environment import environment
from app.settings import CAPABILITIES, Provider, Settings

ROOT = Path(__file__).resolve().parent.parent.parent
FIRST_ANSWER_SECONDS = 60
LOADED = "workflows_loaded"  # the fingerprint of the code whose workflows could be imported last


@dataclass
class Up:
    """One `throughline up`, from its first check to its last stopped part."""

    say: Callable[[str], None]
    data_dir: Path
    folder: DataFolder = field(init=False)
    settings: Settings = field(init=False)
    changes: dict[str, str] = field(default_factory=dict, init=False)  # what the parts' environment gets from us
    _signals: Signals = field(default_factory=Signals, init=False)
    _supervisor: Supervisor = field(init=False)
    _listener: socket.socket | None = field(default=None, init=False)
    _import: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.folder = DataFolder(self.data_dir)
        self._supervisor = Supervisor(self._signals, self.say, self._note)

    def run(self) -> None:
        """Start everything, keep it running until somebody asks to stop, and stop everything.

        Raises:
            CannotStart: with the sentence for the person; whatever was started is stopped.
            SettingsError: a setting is wrong.
        """
        self.folder.open()
        try:
            self._start()
            self._supervisor.watch()
        except Stop:
            self.say("Stopping: steps in hand have some seconds to end. Ctrl-C again stops at once; nothing is lost.")
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise no_space(self.folder.path) from error
            raise
        finally:
            if self._listener is not None:
                self._listener.close()
            if self._import is not None:
                children.end(self._import, signal.SIGKILL, 1)
            self._supervisor.stop()
            self.folder.forget_running()
            self.folder.close()
        self.say("Stopped. Your data is kept; `throughline up` goes on from here.")

    def _start(self) -> None:
        self.changes = {"SECRET_KEY_FILE": str(self.folder.secret_key_file()), "THROUGHLINE_DATA": str(self.data_dir)}
        self.settings = Settings.from_environment(environment(self.changes))
        self._end_leftovers()
        # Kept open as long as we live: a web server that crashed gets the same socket again.
        self._listener = listen(self.settings.host, self.settings.port)
        web = self._listener.fileno()
        self._begin_import()
        services, revision = self.folder.services_folder(), ""
        if services != self.folder.path:
            self.say(f"The database lives in {services}, because its account may not enter {self.folder.path}.")
        if not self.settings.database_url:
            postgres = Postgres(services / "postgres")
            database = Database(postgres)
            self._supervisor.start(database)
            self.changes["DATABASE_URL"] = postgres.url()
            revision = database.revision()
        if not self.settings.redis_url:
            redis = RedisServer(services / "redis")
            self._supervisor.start(Hints(redis))
            self.changes["REDIS_URL"] = redis.url()
        sandbox_port = self._choose_models()
        self._end_import()
        if revision != newest_revision():
            self._migrate()
        self._program("web server", "-m", "gunicorn", "-c", str(ROOT / "gunicorn.conf.py"),
                      "--bind", f"fd://{web}", "wsgi:app", pass_fds=[web])  # fmt: skip
        self._wait_for_first_answer()
        self.say(f"Throughline is ready: {self.settings.public_url}")
        if sandbox_port:
            self._program("sandbox", "-m", "app.sandbox", "--port", str(sandbox_port))
        self._program("worker", "-m", "jobs.worker")
        self._program("upkeep", "-m", "jobs.upkeep")
        self._offer_sign_in()
        self.say("Press Ctrl-C to stop.")

    def _program(self, name: str, *arguments: str, pass_fds: list[int] | None = None) -> None:
        self._supervisor.start(
            Program(
                name,
                [sys.executable, *arguments],
                cwd=ROOT,
                env=environment(self.changes),
                pass_fds=pass_fds or (),
                grace_seconds=self.settings.drain_seconds + 5.0,
            )
        )

    def _choose_models(self) -> int:
        """Point every capability that has no provider at the sandbox; return its port, 0 when it is not needed."""
        providers = self.settings.providers
        missing = [variable for name, (variable, _) in CAPABILITIES.items() if not is_configured(providers[name])]
        if not missing:
            return 0
        port = self.settings.sandbox_port or free_port()
        url = f"http://127.0.0.1:{port}/v1"
        self.changes["SANDBOX_PORT"] = str(port)
        for variable in missing:
            self.changes |= {
                f"{variable}_BASE_URL": url,
                f"{variable}_API_KEY": "sandbox",
                f"{variable}_SANDBOX": "1",
            }
        if len(missing) == len(CAPABILITIES):
            self.changes |= {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "sandbox", "SANDBOX": "1"}
            self.say("No model key is set: the sandbox's models are used. They are free, offline and rough.")
        return port

    def _begin_import(self) -> None:
        """Import the workflows once, beside the database's start; not again while the code is the same."""
        module, kept = self.settings.workflows, self.folder.path / LOADED
        if kept.exists() and kept.read_text() == workflows.fingerprint(ROOT, module):
            return
        command = [sys.executable, "-m", "app.embedded.workflows", module]
        self._import = children.spawn(command, cwd=ROOT, env=environment(self.changes), output=subprocess.PIPE)

    def _end_import(self) -> None:
        if self._import is None:
            return
        said = self._output_of(self._import).decode(errors="replace").strip()
        if self._import.returncode:
            raise CannotStart(said or f"The workflows cannot be loaded (status {self._import.returncode}).")
        (self.folder.path / LOADED).write_text(workflows.fingerprint(ROOT, self.settings.workflows))

    def _migrate(self) -> None:
        done = self._command("migrate", "--quiet")
        if done.returncode:
            if "No space left on device" in done.stdout:
                raise no_space(self.folder.path)
            raise CannotStart(f"The database could not be brought up to date:\n{done.stdout.strip()}")

    def _offer_sign_in(self) -> None:
        done = self._command("sign-in-link")
        if done.returncode:
            self.say(f"The administrator's sign-in link could not be made:\n{done.stdout.strip()}")
            return
        self.say(f"Sign in as administrator, once, with this link: {done.stdout.strip()}")

    def _command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command of ours, ready to be interrupted."""
        with subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "app.cli", *arguments],
            cwd=ROOT,
            env=environment(self.changes),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            said = self._output_of(process)
            return subprocess.CompletedProcess(arguments, process.returncode, said, "")

    def _output_of(self, process: subprocess.Popen[AnyStr]) -> AnyStr:
        """Return what a command of ours says until its end; it is ended when somebody asks to stop."""
        while True:
            try:
                return process.communicate(timeout=0.5)[0]
            except subprocess.TimeoutExpired:
                try:
                    self._signals.check()
                except Stop:
                    process.terminate()
                    raise

    def _wait_for_first_answer(self) -> None:
        deadline = time.monotonic() + FIRST_ANSWER_SECONDS
        host = self.settings.host if self.settings.host not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104
        while not answers(host, self.settings.port):
            self._supervisor.look()
            self._signals.wait(0.05)
            if time.monotonic() > deadline:
                raise CannotStart(f"The web server gave no answer in {FIRST_ANSWER_SECONDS} s; see the lines above.")

    def _note(self, parts: list[Part]) -> None:
        pids = [pid for pid in (part.pid() for part in parts) if pid]
        self.folder.write_running(
            {
                "environment": {name: value for name, value in self.changes.items() if name != "THROUGHLINE_DATA"},
                "address": self.settings.public_url,
                "processes": [{"pid": pid, "born": children.born(pid)} for pid in pids],
            }
        )

    def _end_leftovers(self) -> None:
        """End what a crashed start of this folder left behind (we hold the lock, so nobody owns it)."""
        for entry in self.folder.read_running().get("processes", []):
            pid, born = entry.get("pid"), entry.get("born")
            if not isinstance(pid, int) or not born or children.born(pid) != born:
                continue
            self.say(f"Process {pid} was left by a start that ended badly; stopping it.")
            try:
                # PostgreSQL reads SIGTERM as "wait until everybody has left", so it gets the faster one.
                sign = signal.SIGINT if psutil.Process(pid).name() == "postgres" else signal.SIGTERM
                children.end_found(psutil.Process(pid), sign, 10)
            except psutil.Error:
                continue
            children.end_session_of(pid)


def newest_revision() -> str:
    """Return the database revision that this code needs."""
    return revisions.newest(ROOT / "migrations" / "versions")


def is_configured(provider: Provider) -> bool:
    """Tell whether a person has named a server or a key for this capability."""
    return bool(provider.api_key or provider.base_url)


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def listen(host: str, port: int) -> socket.socket:
    """Return the web server's listening socket; it is ours, so a crash of the web server keeps the port.

    Raises:
        CannotStart: the port is taken, is not allowed, or the host is none of this machine's.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        is_all = host == "::" and socket.has_dualstack_ipv6()  # all addresses: those of IPv4 too
        return socket.create_server((host, port), family=family, backlog=1024, dualstack_ipv6=is_all)
    except socket.gaierror as error:
        raise CannotStart(f"HOST={host} is no address of this machine. Use 127.0.0.1, or 0.0.0.0 for all.") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CannotStart(
                f"Port {port} is used by another program. Stop it, or choose another port: PORT={port + 1} make run"
            ) from error
        if error.errno == errno.EACCES:
            raise CannotStart(f"Port {port} may only be used by root. Choose one above 1023, such as 5000.") from error
        raise CannotStart(f"{host}:{port} cannot be used ({error.strerror}). Set HOST and PORT.") from error


def answers(host: str, port: int) -> bool:
    """Tell whether the web server answers its health page."""
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return bool(json.loads(connection.getresponse().read()).get("status") == "ok")
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()
