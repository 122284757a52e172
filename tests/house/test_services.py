"""The embedded PostgreSQL and Redis: any folder will do, and what a kill left behind never keeps them from starting."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
import sqlalchemy as sa
from limits.storage import storage_from_string

from app.embedded import accounts, children
from app.embedded.parts import Database
from app.embedded.postgres import Postgres
from app.embedded.redis import RedisServer

_ENDLESS = "SELECT count(*) FROM generate_series(1, 9999) a, generate_series(1, 9999) b, generate_series(1, 9999) c"
ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the service account may enter (tmp_path is closed to it)."""
    made = Path(tempfile.mkdtemp(prefix="tl-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def postgres(folder: Path) -> Iterator[Postgres]:
    """A server that runs, and is stopped whatever a test does to it."""
    server = Postgres(folder / "postgres")
    server.start()
    yield server
    server.stop("immediate")


def test_a_folder_may_be_named_as_people_name_folders(folder):
    odd = folder / "My talks + 100%41 & more=#1? é"
    odd.mkdir(mode=0o755)
    server, hints = Postgres(odd / "pg"), RedisServer(odd / "redis")
    database = Database(server)
    try:
        database.start()
        assert database.revision() == ""
        with sa.create_engine(server.url(), poolclass=sa.NullPool).connect() as connection:
            assert connection.scalar(sa.text("SELECT current_database()")) == "throughline"
        hints.start()
        with redis.Redis.from_url(hints.url(3)) as client:
            assert client.client_info()  # RQ reads it, and it holds the socket's path
        assert storage_from_string(hints.url().replace("unix://", "redis+unix://", 1)).check()
    finally:
        hints.stop()
        server.stop("immediate")
        for short in (server.socket_folder, hints.socket.parent):
            shutil.rmtree(short)


def test_a_server_killed_in_the_middle_of_a_query_is_started_again(postgres):
    # A backend that computes does not look whether its server still lives, and keeps its memory.
    backend = []

    def compute() -> None:
        with psycopg.connect(postgres.url("postgres").replace("+psycopg", "")) as connection:
            backend.append(connection.info.backend_pid)
            connection.execute(_ENDLESS)

    def run() -> None:
        with pytest.raises(psycopg.OperationalError):
            compute()

    query = threading.Thread(target=run)
    query.start()
    _until(lambda: _state(postgres, backend) == "active")
    os.kill(postgres.process.pid, signal.SIGKILL)
    postgres.process.wait()
    postgres.start()
    query.join(30)
    assert not query.is_alive()
    assert children.find(backend[0], name="postgres", cwd=postgres.data) is None


def _state(postgres: Postgres, backend: list[int]) -> str | None:
    with psycopg.connect(postgres.url("postgres").replace("+psycopg", "")) as connection:
        found = connection.execute("SELECT state FROM pg_stat_activity WHERE pid = ANY(%s)", (backend,)).fetchone()
    return found[0] if found else None


def test_whoever_is_in_a_hurry_need_not_wait_for_a_database_and_loses_nothing(postgres):
    database = postgres.url("postgres").replace("+psycopg", "")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (word text)")
        connection.execute("INSERT INTO kept VALUES ('still here')")
        asked = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"
        checkpointer = connection.execute(asked).fetchone()[0]
    os.kill(checkpointer, signal.SIGSTOP)  # no stop with a checkpoint ends now
    server, looked = postgres.process, []
    postgres.stop(is_hurried=lambda: len(looked) == 3 or looked.append(server.poll()) is not None)
    assert looked == [None, None, None]
    assert server.returncode is not None
    postgres.start()
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT word FROM kept").fetchone() == ("still here",)


def test_a_process_number_that_another_program_got_since_is_no_obstacle(folder, postgres):
    database, status = postgres.url("postgres").replace("+psycopg", ""), postgres.data / "postmaster.pid"
    left = status.read_text().split("\n")
    postgres.stop("immediate")
    other = children.spawn(["/bin/sleep", "600"], cwd=folder, env={}, as_service=True)
    try:
        status.write_text("\n".join([str(other.pid), *left[1:]]))
        accounts.give(status)
        postgres.start()
        with psycopg.connect(database) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert other.poll() is None
    finally:
        children.end(other, signal.SIGKILL, 5)


def test_a_first_start_that_was_killed_is_made_good_by_the_next(folder):
    target = folder / "postgres"
    code = "import sys; from pathlib import Path; from app.embedded.postgres import Postgres; "
    code += "Postgres(Path(sys.argv[1])).start()"
    first = subprocess.Popen([sys.executable, "-c", code, str(target)], cwd=ROOT)
    _until(lambda: any(target.glob("pgdata*/PG_VERSION")))  # the first file of a cluster; a second of work follows
    made = psutil.Process(first.pid).children(recursive=True)
    for process in [*made, psutil.Process(first.pid)]:
        process.kill()
    first.wait()
    psutil.wait_procs(made, 10)
    server = Postgres(target)
    try:
        server.start()
        server.make_database()
    finally:
        server.stop("immediate")


def _until(is_so, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)
