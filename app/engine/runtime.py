"""What the application hands the engine, and the engine's own state in this process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import psycopg
import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session, scoped_session

from app.engine.errors import EngineError
from app.lib.direct import DirectConnection

logger = structlog.get_logger("app.engine")
Connection = psycopg.Connection[Any]
IDLE = psycopg.pq.TransactionStatus.IDLE
DATABASE_IS_AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.IdleInTransactionSessionTimeout,  # what a process hears that was frozen (see FROZEN_SECONDS)
    sa.exc.OperationalError,
    sa.exc.InterfaceError,
)


@dataclass(frozen=True)
class Verdict:
    """What an exception means: whether trying again can help, after how long, and what to call it.

    `is_foreseen` false: nobody wrote this error for people to read. Its text (SQL, addresses) stays on the run's own
    page and in the log.
    """

    retriable: bool
    after_seconds: float | None = None
    code: str = "error"
    message: str = ""
    is_foreseen: bool = True
    is_deferral: bool = False  # it waits for its turn: no attempt is spent, for 24 hours in all


@dataclass(frozen=True)
class Ports:
    """Everything that the engine needs from the house around it."""

    engine: sa.Engine
    session: scoped_session[Session]  # the session of the current app context
    app_context: Callable[[], AbstractContextManager[Any]]
    classify: Callable[[Exception], Verdict]
    publish: Callable[[Iterable[str]], None]  # tell browsers that these topics changed; must not raise
    redis_url: str
    namespace: str = "throughline"
    lease_seconds: float = 30.0
    run_threads: int = 16
    step_threads: int = 48


CONNECTIONS = 2  # of the engine's own, in any process: a web process needs next to none
WORKER_CONNECTIONS = 14  # in one that advances runs

# Without the first, each checkpoint is planned anew. The others keep every queue in the order of its index: the
# statistics of a table that was empty a minute ago suggest fetching and sorting 100,000 rows to take the first.
PLANNING = "SET plan_cache_mode = force_generic_plan; SET enable_bitmapscan = off; SET enable_sort = off"


# A process that freezes inside a transaction (a stopped machine) keeps its locks; those on a flow key would stop every
# claim and every pass of upkeep. PostgreSQL ends such a transaction. The engine's own take milliseconds.
FROZEN_SECONDS = 10.0


class Pool:
    """A few autocommit psycopg connections beside SQLAlchemy's.

    A step that never touched its session commits its memo in one statement on one of these.
    """

    def __init__(self, engine: sa.Engine, size: int = CONNECTIONS) -> None:
        self._arguments = engine.dialect.create_connect_args(engine.url)
        self._idle: list[Connection] = []  # the one that was put back last is lent first: its plans are warm
        self._permits: SimpleQueue[None] = SimpleQueue()  # written in C, unlike a semaphore
        self.grow(size)

    def connection(self) -> _Lent:
        """Lend a connection for a `with` block; one that broke is thrown away."""
        return _Lent(self)

    def grow(self, more: int) -> None:
        """Allow `more` connections: in a process that advances runs."""
        for _ in range(more):
            self._permits.put(None)

    def close(self) -> None:
        """Close the idle connections (new ones are opened when needed)."""
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()

    def take(self) -> Connection:
        """Wait for a connection; it must be put back."""
        self._permits.get()
        try:
            return self._idle.pop()
        except IndexError:
            pass
        try:
            return self._open()
        except BaseException:
            self._permits.put(None)
            raise

    def put_back(self, connection: Connection) -> None:
        """Lend a connection to others from now on."""
        if connection.pgconn.transaction_status == IDLE:
            self._idle.append(connection)
        else:  # broken, or left inside a transaction
            connection.close()
            self.close()  # the server may have gone away with all of them
        self._permits.put(None)

    def _open(self) -> DirectConnection:
        positional, named = self._arguments
        connection = DirectConnection.connect(*positional, **named, autocommit=True)
        connection.execute(f"{PLANNING}; SET idle_in_transaction_session_timeout = {round(FROZEN_SECONDS * 1000)}")
        connection.prepare_threshold = 0
        return connection


class _Lent:
    """A connection for the length of a `with` block (a class: a generator costs a microsecond more a step)."""

    __slots__ = ("_connection", "_pool")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def __enter__(self) -> Connection:
        self._connection = self._pool.take()
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._pool.put_back(self._connection)


@dataclass
class Runtime:
    """The engine in this process: its ports, its connections, and whether it is shutting down."""

    ports: Ports
    pool: Pool
    is_draining: bool = False
    announce: Callable[[Iterable[str]], None] = field(default=lambda _topics: None)
    hint: Callable[[Iterable[tuple[str, str]]], None] = field(default=lambda _runs: None)
    show_failed: Callable[[str, str], None] = field(default=lambda _workflow, _run_id: None)


_current: Runtime | None = None


def install(ports: Ports) -> Runtime:
    """Make `ports` those of this process (the last app that was created wins)."""
    global _current  # noqa: PLW0603
    if _current is not None:
        _current.pool.close()
    _current = Runtime(ports, Pool(ports.engine), announce=ports.publish)
    return _current


def runtime() -> Runtime:
    """Return the engine's state in this process.

    Raises:
        EngineError: no application was created.
    """
    if _current is None:
        raise EngineError("The engine has not been started: call create_app() first.")
    return _current
