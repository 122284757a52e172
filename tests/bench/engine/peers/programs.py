"""The peers as the bench sees them: started, asked for a number of steps, stopped."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.engine.peers import install
from tests.bench.engine.world import until
from tests.services import database_url, run_sql

HERE = Path(__file__).resolve().parent
DATABASE = "bench_dbos"


class Dbos:
    """DBOS Transact in one process, with a database of its own on the PostgreSQL server that ours is on."""

    name = "DBOS " + install.DBOS[0].partition("==")[2]

    def __init__(self) -> None:
        python = install.dbos()
        run_sql(f"DROP DATABASE IF EXISTS {DATABASE}", f"CREATE DATABASE {DATABASE}")
        self._application = _Asked([str(python), str(HERE / "dbos_program.py"), "serve", database_url(DATABASE)])
        self._client = _Asked([str(python), str(HERE / "dbos_program.py"), "enqueue", database_url(DATABASE)])

    def steps(self, runs: int, steps: int) -> float:
        """Return steps a second of `runs` workflows at once."""
        return runs * steps / float(self._application.ask(runs=runs, steps=steps))

    def starts(self, number: int) -> list[float]:
        """Return the seconds from `start_workflow` to the first step, all inside one process."""
        return list(self._application.ask(starts=number))

    def events(self, number: int) -> list[float]:
        """Return the seconds from enqueueing in one process to the first step in another one."""
        return list(self._client.ask(events=number))

    def stop(self) -> None:
        """End both processes."""
        self._client.stop()
        self._application.stop()


class Restate:
    """Restate's server, which keeps its own files, and one process with a service of its SDK."""

    name = "Restate " + install.RESTATE_SERVER.rpartition("@")[2]

    def __init__(self) -> None:
        server, python = install.restate_server(), install.restate_sdk()
        self._folder = Path(tempfile.mkdtemp(prefix="bench-restate-"))
        self._ingress, admin, node, service = _free_ports(4)
        log = (self._folder / "log").open("wb")
        environment = {
            **os.environ,
            "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{self._ingress}",
            "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
            "RESTATE_BIND_ADDRESS": f"127.0.0.1:{node}",
            "RESTATE_ADVERTISED_ADDRESS": f"http://127.0.0.1:{node}",
            "RESTATE_DISABLE_TELEMETRY": "true",
            "RESTATE_LISTEN_MODE": "tcp",
        }
        command = [str(server), "--no-logo", "--node-name", "bench", "--base-dir", str(self._folder / "data")]
        self._processes = [
            subprocess.Popen([str(python), str(HERE / "restate_program.py"), str(service)], stdout=log, stderr=log),
            subprocess.Popen(command, env=environment, cwd=self._folder, stdout=log, stderr=log),
        ]
        try:
            until(lambda: _post(admin, "/deployments", {"uri": f"http://127.0.0.1:{service}"}) in (200, 201), 60, 0.5)
            until(lambda: _post(self._ingress, "/bench/steps", 1) == 200, 60, 0.5)
        except TimeoutError:
            said = (self._folder / "log").read_text(errors="replace").strip().splitlines()
            self.stop()
            raise install.CannotInstall(f"it did not start: {said[-1] if said else ''}") from None

    def steps(self, runs: int, steps: int) -> float:
        """Return steps a second of `runs` callers at once."""

        def call() -> None:
            status = _post(self._ingress, "/bench/steps", steps)
            if status != 200:
                raise RuntimeError(f"Restate answered {status}")

        threads = [threading.Thread(target=call) for _ in range(runs)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return runs * steps / (time.perf_counter() - began)

    def events(self, number: int) -> list[float]:
        """Return the seconds from a caller's request to the first step."""
        taken = []
        connection = http.client.HTTPConnection("127.0.0.1", self._ingress, timeout=60)
        for _ in range(number):
            sent_at = time.time()
            connection.request("POST", "/bench/first_step")
            taken.append(float(connection.getresponse().read()) - sent_at)
            time.sleep(0.03)
        connection.close()
        return taken

    def stop(self) -> None:
        """End both processes and forget their files."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


Peer = Dbos | Restate


@contextlib.contextmanager
def running() -> Iterator[tuple[dict[str, Peer], dict[str, str]]]:
    """Run the peers that are to be had inside the block; yields them, and why the others are not there."""
    peers: dict[str, Peer] = {}
    why: dict[str, str] = {}
    try:
        for peer in (Dbos, Restate):
            try:
                peers[peer.name] = peer()
            except (install.CannotInstall, RuntimeError) as error:
                why[peer.name] = str(error)
        yield peers, why
    finally:
        for running_peer in peers.values():
            running_peer.stop()


class _Asked:
    """A process that answers a line of JSON with a line of JSON."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._read()

    def ask(self, **question: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self._read()

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{Path(self._command[1]).name} ended with {self._process.wait()}")
        return json.loads(line)


def _post(port: int, path: str, body: Any) -> int:
    """Return the status of the answer, 0 when there is nobody."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except OSError:
        return 0
    finally:
        connection.close()


def _free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
