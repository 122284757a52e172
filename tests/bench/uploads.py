"""How fast bytes come in through tus, against a plain copy of the same file on the same disk."""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests import schema
from tests.services import Services, database_url, redis_url, run_sql

MEGABYTES = 256


def main() -> None:
    """Print megabytes a second of a copy and of one tus upload over loopback, and the ratio."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    services = Services()
    services.start()
    try:
        run_sql("CREATE DATABASE bench_uploads")
        schema.create(database_url("bench_uploads"))
        with tempfile.TemporaryDirectory() as folder:
            _measure(Path(folder))
    finally:
        services.stop()


def _measure(folder: Path) -> None:
    from tusclient.client import TusClient

    from app import create_app
    from app.accounts import service as accounts
    from app.db import db
    from app.settings import Settings
    from tests.videos.test_tus_client import running

    app = create_app(
        Settings(
            environment="test",
            secret_key="test-secret-key-of-thirty-two-characters",
            data_dir=folder / "data",
            database_url=database_url("bench_uploads"),
            redis_url=redis_url(0),
            log_level="error",
        )
    )
    source = folder / "source"
    with source.open("wb") as file:
        for number in range(MEGABYTES):
            file.write(bytes([number % 256]) * 1_000_000)
    began = time.perf_counter()
    shutil.copyfile(source, folder / "copy")
    copied = MEGABYTES / (time.perf_counter() - began)
    with app.app_context():
        key = accounts.create_key("bench@example.org")
        db.session.commit()
    with running(app) as address, source.open("rb") as stream:
        client = TusClient(f"{address}/uploads/", headers={"Authorization": f"Bearer {key}"})
        began = time.perf_counter()
        client.uploader(file_stream=stream, chunk_size=64_000_000, metadata={"filename": "x"}).upload()
        sent = MEGABYTES / (time.perf_counter() - began)
    with app.app_context():
        db.engine.dispose()
    sys.stdout.write(f"plain copy {copied:7.0f} MB/s\ntus upload {sent:7.0f} MB/s   {sent / copied:.2f} of a copy\n")
