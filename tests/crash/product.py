"""The product's own processes for crash tests: a sandbox, workers, short clips, and the state afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import av
import httpx2
import sqlalchemy as sa

from app.db import db
from app.settings import Settings

ROOT = Path(__file__).resolve().parent.parent.parent
FINAL = ("completed", "failed", "cancelled", "dead")


class Sandbox:
    """`python -m app.sandbox` on a free port."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app.sandbox", "--port", "0", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[-1]

    def calls(self) -> list[dict]:
        """Return every call so far."""
        return httpx2.get(self.url.removesuffix("/v1") + "/__calls").json()["calls"]

    def reset(self) -> None:
        """Forget the calls so far."""
        httpx2.delete(self.url.removesuffix("/v1") + "/__calls")

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait(10)
        self.process.stdout.close()


def start_worker(settings: Settings, sandbox: Sandbox, module: str = "jobs.worker", **extra: str) -> subprocess.Popen:
    """Start a worker of the product on the test's database, with the sandbox as its models."""
    environment = {
        **os.environ,
        "THROUGHLINE_ENV": "test",
        "THROUGHLINE_DATA": str(settings.data_dir),
        "SECRET_KEY": settings.secret_key,
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "REDIS_NAMESPACE": settings.redis_namespace,
        "OPENAI_BASE_URL": sandbox.url,
        "OPENAI_API_KEY": "sandbox",
        "SANDBOX": "1",
        "TRANSCRIPTION_MODEL": "text-only",
        "EMBEDDING_MODEL": "sandbox-embed",
        "LEASE_SECONDS": "1",
        "LOG_LEVEL": os.environ.get("TEST_LOG_LEVEL", "error"),
        **extra,
    }
    return subprocess.Popen([sys.executable, "-m", module], cwd=ROOT, env=environment)


def cut_clip(source: Path, target: Path, start: float, seconds: float) -> Path:
    """Copy the sound of `source` between two times into a small file (packets as they are)."""
    with av.open(str(source)) as talk, av.open(str(target), "w", format="ipod") as out:
        sound = talk.streams.audio[0]
        copy = out.add_stream_from_template(sound)
        for packet in talk.demux(sound):
            if packet.pts is None or not start <= float(packet.pts * packet.time_base) < start + seconds:
                continue
            packet.pts = packet.dts = packet.pts - int(start / packet.time_base)
            packet.stream = copy
            out.mux(packet)
    return target


def rows(statement: str, **values: object) -> list[dict]:
    """Read on a fresh snapshot."""
    with db.engine.connect() as connection:
        return [dict(row) for row in connection.execute(sa.text(statement), values).mappings()]


def open_runs() -> list[dict]:
    """Return the runs that have not ended."""
    return rows("SELECT workflow, status FROM run WHERE status <> ALL(:final)", final=list(FINAL))
