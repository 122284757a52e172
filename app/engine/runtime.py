"""What the application hands the engine, and the engine's own state in this process."""

import atexit
import functools
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session, scoped_session

from app.engine.errors import EngineError
from app.lib.queue_pool import QueuePool

logger = structlog.get_logger("app.engine")
Connection = psycopg.Connection[Any]


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
    # A model call, for step.ai: (messages=, model=, schema=, key=, write=, **options) -> output, model, tokens, cost.
    ai: Callable[..., Mapping[str, Any]] | None = None
    namespace: str = "throughline"
    lease_seconds: float = 30.0
    run_threads: int = 16
    step_threads: int = 48
    retention: timedelta | None = timedelta(days=90)  # how long what has ended is kept; None: for ever
    isolated_processes: int = 2  # isolated runs at once, beside a worker (0: only a worker of their own runs them)
    drain_seconds: float = 25.0  # what a worker that stops leaves to the steps in hand


CONNECTIONS = 2  # of the engine's own, in any process: a web process needs next to none
WORKER_CONNECTIONS = 14  # in one that advances runs

# A process that freezes inside a transaction (a stopped machine) keeps its locks; those on a flow key would stop every
# claim and every pass of upkeep. PostgreSQL ends such a transaction. The engine's own take milliseconds.
FROZEN_SECONDS = 10.0


@dataclass
class Runtime:
    """The engine in this process: its ports, its connections, and whether it is shutting down."""

    ports: Ports
    pool: QueuePool
    is_draining: bool = False
    is_disposable: bool = False  # this process advances one run and ends
    isolated: bool | None = None  # which workflows this process claims runs of: only these, only the others, all
    announce: Callable[[Iterable[str]], None] = field(default=lambda _topics: None)
    look_for_waits: Callable[[Iterable[UUID]], None] = field(default=lambda _events: None)
    hint: Callable[[Iterable[tuple[str, str]]], None] = field(default=lambda _runs: None)
    show_failed: Callable[[str, str], None] = field(default=lambda _workflow, _run_id: None)

    @functools.cached_property
    def step_threads(self) -> ThreadPoolExecutor:
        """Return the threads that help with branches, shared by all runs of this process."""
        return ThreadPoolExecutor(self.ports.step_threads, thread_name_prefix="step")

    def forked(self) -> None:
        """Leave the connections of the process that was forked to it, without closing them."""
        self.ports.engine.dispose(close=False)
        self.pool = new_pool(self.ports.engine)


_current: Runtime | None = None


def new_pool(engine: sa.Engine) -> QueuePool:
    """Return a few connections beside SQLAlchemy's: a step that never touched its session commits its memo on one."""
    return QueuePool(engine, CONNECTIONS, lambda: FROZEN_SECONDS)


def install(ports: Ports) -> Runtime:
    """Make `ports` those of this process (the last app that was created wins)."""
    global _current  # noqa: PLW0603
    if _current is None:
        atexit.register(lambda: runtime().pool.close())  # noqa: PLW0108  (the one that there is by then)
    else:
        _current.pool.close()
    _current = Runtime(ports, new_pool(ports.engine), announce=ports.publish)
    return _current


def runtime() -> Runtime:
    """Return the engine's state in this process.

    Raises:
        EngineError: no application was created.
    """
    if _current is None:
        raise EngineError("The engine has not been started: call create_app() first.")
    return _current
