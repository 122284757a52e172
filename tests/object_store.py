"""A real S3-compatible server (SeaweedFS, from the dev packages) on this machine, and a line to it that can be cut."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from datetime import timedelta
from pathlib import Path

import httpx2
import obstore
import pytest
from obstore.store import S3Store

from app.lib.ids import new_id
from app.settings import Bucket

WEED = Path(sys.prefix) / "bin" / "weed"
KEY_ID, SECRET = "TESTKEYID", "hunter2-the-secret-of-the-test-store"
READER = "READONLYKEY"  # with the same secret; may list and read only
PATIENCE_SECONDS = 60
IDENTITIES = {
    "identities": [
        {
            "name": name,
            "credentials": [{"accessKey": key_id, "secretKey": SECRET}],
            "actions": actions,
        }
        for name, key_id, actions in (
            ("all", KEY_ID, ["Admin", "Read", "Write", "List", "Tagging"]),
            ("reader", READER, ["Read", "List"]),
        )
    ]
}


class ObjectStore:
    """The server. Its buckets are made with `make_bucket`; `left_over` tells of uploads that were begun only."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tl-s3-", dir="/tmp"))
        self.process: subprocess.Popen[bytes] | None = None
        self.port = self.filer_port = 0

    def start(self) -> None:
        (self.folder / "data").mkdir()
        (self.folder / "identities.json").write_text(json.dumps(IDENTITIES))
        names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
        ports = dict(zip((*names, "s3.port", "s3.port.grpc"), _free_ports(8), strict=True))
        self.port, self.filer_port = ports["s3.port"], ports["filer.port"]
        command = [
            *(str(WEED), "server", f"-dir={self.folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            *("-filer", "-s3", f"-s3.config={self.folder / 'identities.json'}", "-s3.autoCreateBucket=false"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=64", "-volume.max=500"),
            *(f"-{name}={port}" for name, port in ports.items()),
        ]
        with (self.folder / "log").open("wb") as log:
            # Each bucket has volumes of its own: one is enough, where it would begin with seven.
            environment = os.environ | {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, env=environment)
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > give_up_at:
                raise RuntimeError(f"The object store did not start:\n{(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)
        self.ensure_alive()

    def ensure_alive(self) -> None:
        """Say so when the server has died: else every test would tell of a refused connection."""
        if self.process is None or self.process.poll() is not None:
            raise RuntimeError(f"The object store died:\n{(self.folder / 'log').read_text()[-2000:]}")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def make_bucket(self, **changes: object) -> Bucket:
        """Make a new bucket and return its settings."""
        name = f"talks-{new_id().hex}"
        # Addressed as a host of its own, the path of a request is the key alone: here, the name of the bucket.
        host = S3Store(
            name,
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=KEY_ID,
            secret_access_key=SECRET,
            virtual_hosted_style_request=True,
            client_options={"allow_http": True},
        )
        httpx2.put(obstore.sign(host, "PUT", name, timedelta(minutes=1))).raise_for_status()
        facts = {"name": name, "access_key_id": KEY_ID, "secret_access_key": SECRET, "endpoint": self.endpoint}
        return Bucket(**(facts | changes))

    def left_over(self, bucket: Bucket) -> list[str]:
        """Return the uploads in parts that were begun and neither completed nor taken back."""
        address = f"http://127.0.0.1:{self.filer_port}/buckets/{bucket.name}/.uploads/"
        answer = httpx2.get(address, headers={"Accept": "application/json"})
        if answer.status_code == 404:
            return []  # there never was one
        return [each["FullPath"] for each in answer.raise_for_status().json()["Entries"] or []]

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"{self.endpoint}/status", timeout=1).status_code < 500
        except httpx2.HTTPError:
            return False


class Line:
    """A port that leads to the store until it is cut, and again once it is mended."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.bytes_left: int | None = None  # after so many bytes towards the store it cuts itself
        self._refusals = 0
        self._serve()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def refuse(self, count: int) -> None:
        """Break what is open, and the next `count` connections."""
        self._refusals = count
        self._break()

    def cut(self) -> None:
        """Refuse new connections, and break those that are open."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._break()

    def mend(self) -> None:
        """Lead to the store again."""
        self.bytes_left = None
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._serve()

    def _break(self) -> None:
        for each in tuple(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open.clear()

    def _serve(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                if self._refusals > 0:
                    self._refusals -= 1
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._target))
                self._open |= {near, far}
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(*pair, pair[0] is near), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, is_upwards: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if is_upwards and self.bytes_left is not None:
                    self.bytes_left -= len(data)
                    if self.bytes_left < 0:
                        self.cut()
                        return
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
            self._open.discard(each)


@pytest.fixture(scope="session")
def object_store():
    """The server, started at its first use in this test process; one that cannot start fails its tests."""
    server = ObjectStore()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def bucket(object_store):
    """A new, empty bucket."""
    object_store.ensure_alive()
    return object_store.make_bucket()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]
