"""How fast bytes come in through tus and through a form, and what memory that takes, on a real `throughline up`.

The baselines are a plain copy of the same file on the same disk, and the idle web server.
"""

from __future__ import annotations

import http.client
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tusclient.client import TusClient

from tests.proofs.films import make_film
from tests.proofs.memory import watching
from tests.proofs.uploads import running
from tests.stack import Stack

MEBIBYTES = 256
ROUNDS = 3
CHUNK_BYTES = 64 << 20
BLOCK_BYTES = 1 << 20


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder, running(STORAGE_QUOTA_BYTES=str(1 << 40)) as stack:
        film, copy = make_film(Path(folder) / "talk.mp4", MEBIBYTES << 20), Path(folder) / "copy"
        key = stack.cli("key", "create", "bench@example.org").strip()
        bare = _fastest(lambda: shutil.copyfile(film, copy))
        _say("plain copy (baseline)", bare, bare)
        for name, send in (("tus", by_tus), ("form", by_form)):
            with watching(stack) as memory:
                _say(f"by {name}", _fastest(lambda send=send: send(stack, key, film)), bare)
            _remember(f"memory of the web server, by {name}", memory.most, memory.idle)


def by_tus(stack: Stack, key: str, film: Path) -> None:
    """Send the bytes; no video is made of them."""
    client = TusClient(f"{stack.url}/uploads/", headers={"Authorization": f"Bearer {key}"})
    with film.open("rb") as stream:
        uploader = client.uploader(file_stream=stream, chunk_size=CHUNK_BYTES, metadata={"filename": film.name})
        uploader.upload()
    _ask(stack, "DELETE", uploader.url.removeprefix(stack.url), key)


def by_form(stack: Stack, key: str, film: Path) -> None:
    """Send it as a form that is refused at its end for its captions, so that no time goes into looking at the film."""
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="talk.mp4"\r\n\r\n'
    tail = b'\r\n--x\r\nContent-Disposition: form-data; name="captions"; filename="talk.srt"\r\n\r\nnone\r\n--x--\r\n'
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=120)
    connection.putrequest("POST", "/api/videos")
    connection.putheader("Authorization", f"Bearer {key}")
    connection.putheader("Content-Type", "multipart/form-data; boundary=x")
    connection.putheader("Content-Length", str(len(head) + film.stat().st_size + len(tail)))
    connection.endheaders()
    connection.send(head)
    with film.open("rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            connection.send(block)
    connection.send(tail)
    status = connection.getresponse().status
    connection.close()
    if status != 422:
        raise RuntimeError(f"The form was answered with {status}.")


def _ask(stack: Stack, method: str, path: str, key: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=30)
    connection.request(method, path, headers={"Authorization": f"Bearer {key}", "Tus-Resumable": "1.0.0"})
    connection.getresponse().read()
    connection.close()


def _fastest(work: Callable[[], object]) -> float:
    """Return megabytes a second of the best of some rounds."""
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return (MEBIBYTES << 20) / 1e6 / min(seconds)


def _say(what: str, rate: float, bare: float) -> None:
    sys.stdout.write(f"{what:40} {rate:7.0f} MB/s {rate / bare:6.2f} x\n")
    sys.stdout.flush()


def _remember(what: str, most: int, idle: int) -> None:
    sys.stdout.write(
        f"{what:40} {most / 1e6:7.0f} MB   {most / idle:6.2f} x idle, {(most - idle) / 1e6:.1f} MB above; target 60\n"
    )
    sys.stdout.flush()
