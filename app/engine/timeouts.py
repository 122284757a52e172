"""Timeouts of steps. A thread cannot be killed: a try that takes too long is abandoned, and can do no more harm.

The try has a thread of its own, and the run's thread waits for it. At the timeout the two meet at a gate that only one
of them passes: the checkpoint of the try, or its abandonment. An abandoned try commits nothing: its database
connections are cut off (what hangs in them ends, and its locks are freed) and it gets no others, its calls outside are
refused, and `ctx` stops it where it can. What it holds of this process, a thread and its memory, it keeps until it
returns; `isolated` workflows get that back too.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.pool import ConnectionPoolEntry

from app.engine import current
from app.engine.errors import Abandoned, StepTimeout
from app.engine.runtime import Connection, logger, runtime

CANCEL_SECONDS = 2.0  # the longest that the run waits for the database to have heard of a cancellation
ABANDONED = "abandoned-step"  # the name of a thread that nobody waits for any more
_GATE = "engine.gate"


class Gate:
    """Decides once whether a try is remembered or abandoned, and knows the database connections that it holds."""

    def __init__(self) -> None:
        self.is_abandoned = False
        self._is_committing = False
        self._lock = threading.Lock()
        self._connections: set[Connection] = set()

    def refuse(self) -> None:
        """Stop an abandoned try.

        Raises:
            Abandoned: it is one.
        """
        if self.is_abandoned:
            raise Abandoned

    def commit(self) -> None:
        """Pass on the way to the checkpoint, or stop as `refuse` does."""
        with self._lock:
            self.refuse()
            self._is_committing = True

    def abandon(self) -> bool:
        """Cut the try off; returns false when its checkpoint is on the way already."""
        with self._lock:
            if not self._is_committing:
                self.is_abandoned = True
                for connection in self._connections:
                    _cut(connection)
        return self.is_abandoned

    def lend(self, connection: Connection) -> None:
        """Note a connection that the try takes; an abandoned one gets none."""
        with self._lock:
            self.refuse()
            self._connections.add(connection)

    def take_back(self, connection: Connection) -> bool:
        """Forget a connection that the try gives back; returns whether it is still good."""
        with self._lock:
            self._connections.discard(connection)
            return not self.is_abandoned


def within(seconds: float, work: Callable[[], Any]) -> Any:
    """Do the work of the current try on a thread of its own, for `seconds` at most.

    Raises:
        StepTimeout: it took longer, and is abandoned.
    """
    gate = current.gate()
    if gate is None:
        raise AssertionError("the try has no gate")
    done: Future[Any] = Future()

    def attempt() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001  (raised again on the run's own thread)
            done.set_exception(error)
            if gate.is_abandoned:
                logger.info("step.abandoned_ended", error=type(error).__name__)

    thread = threading.Thread(target=contextvars.copy_context().run, args=[attempt], name="timed-step", daemon=True)
    thread.start()
    if not wait([done], seconds).done and gate.abandon():
        thread.name = ABANDONED
        state = runtime()
        state.is_draining |= state.is_disposable  # nothing abandoned survives its process; the next one goes on
        logger.warning("step.abandoned", seconds=seconds, abandoned=count())
        raise StepTimeout(seconds)
    return done.result()


def count() -> int:
    """Return how many abandoned tries are still busy in this process."""
    return sum(thread.name == ABANDONED for thread in threading.enumerate())


def listen(engine: sa.Engine) -> None:
    """Follow which tries hold which connections of `engine`."""
    sa.event.listen(engine, "checkout", _lend)
    sa.event.listen(engine, "checkin", _take_back)
    sa.event.listen(engine, "invalidate", _take_back)


def _lend(connection: Connection, record: ConnectionPoolEntry, _fairy: object) -> None:
    gate = current.gate()
    if gate is not None:
        gate.lend(connection)
        record.info[_GATE] = gate  # whoever gives it back, on whatever thread


def _take_back(connection: Connection, record: ConnectionPoolEntry, *_error: object) -> None:
    gate = record.info.pop(_GATE, None)
    if gate is not None and not gate.take_back(connection):
        record.invalidate()


def _cut(connection: Connection) -> None:
    """End what the connection is doing, and the connection. Its own thread finds it closed by the other side."""
    with contextlib.suppress(psycopg.Error, OSError):
        connection.cancel_safe(timeout=CANCEL_SECONDS)
    with contextlib.suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)
