"""The real PostgreSQL and Redis of one test run: started once, shared by all test processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import psycopg

from app.embedded.postgres import Postgres
from app.embedded.redis import RedisServer

FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Services:
    """PostgreSQL and Redis in a temporary folder."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tl-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.postgres = Postgres(self.folder / "pg", extra_settings=FAST)
        self.redis = RedisServer(self.folder / "redis")

    def start(self) -> None:
        self.postgres.start()
        self.redis.start()
        os.environ["TEST_POSTGRES"] = self.postgres.url("{database}")
        os.environ["TEST_REDIS"] = str(self.redis.socket)

    def stop(self) -> None:
        with contextlib.suppress(Exception):
            self.redis.stop()
        self.postgres.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)


def database_url(name: str) -> str:
    """Return the SQLAlchemy address of the test server's database `name`."""
    return os.environ["TEST_POSTGRES"].replace("{database}", name)


def run_sql(*statements: str, database: str = "postgres") -> None:
    """Run statements outside any transaction, as the test server's owner."""
    address = database_url(database).replace("+psycopg", "")
    with psycopg.connect(address, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def redis_url(number: int) -> str:
    """Return the address of one of the 64 Redis databases."""
    return f"unix://{os.environ['TEST_REDIS']}?db={number}"
