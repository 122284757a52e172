"""Timeouts for work in threads. A thread cannot be killed: what takes too long is abandoned, and can do no more harm.

The work has a thread of its own, and whoever wants it waits. At the timeout the two meet at a gate that only one of
them passes: the work on the way to its commit, or whoever abandons it. Abandoned work commits nothing: its database
connections are cut off (what hangs in them ends, and its locks are freed), it gets no others, and it is stopped
wherever it asks `refuse`. What it holds of this process, a thread and its memory, it keeps until it returns.
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

Connection = psycopg.Connection[Any]
CANCEL_SECONDS = 2.0  # the longest that one waits for the database to have heard of a cancellation
ABANDONED = "abandoned"  # the name of a thread that nobody waits for any more
_GATE = "timeouts.gate"


class TimedOut(Exception):
    """The work took longer than it may, and was abandoned."""


class Abandoned(BaseException):
    """This is abandoned work: nothing that it still does counts. No Exception: `except Exception` lets it pass."""


class Gate:
    """Decides once whether work is committed or abandoned, and knows the database connections that it holds."""

    def __init__(self) -> None:
        self.is_abandoned = False
        self._is_committing = False
        self._lock = threading.Lock()
        self._connections: set[Connection] = set()

    def refuse(self) -> None:
        """Stop abandoned work."""
        if self.is_abandoned:
            raise Abandoned

    def commit(self) -> None:
        """Pass on the way to the commit, unless it is too late."""
        with self._lock:
            self.refuse()
            self._is_committing = True

    def abandon(self) -> bool:
        """Cut the work off; returns false when its commit is on the way already."""
        with self._lock:
            if not self._is_committing:
                self.is_abandoned = True
                for connection in self._connections:
                    _cut(connection)
        return self.is_abandoned

    def lend(self, connection: Connection) -> None:
        """Note a connection that the work takes; abandoned work gets none."""
        with self._lock:
            self.refuse()
            self._connections.add(connection)

    def take_back(self, connection: Connection) -> bool:
        """Forget a connection that it gives back; returns whether it is still good."""
        with self._lock:
            self._connections.discard(connection)
            return not self.is_abandoned


_gate: contextvars.ContextVar[Gate | None] = contextvars.ContextVar("timeouts_gate", default=None)


def within(seconds: float, work: Callable[[], Any]) -> Any:
    """Do `work()` on a thread of its own, in a copy of this context, for `seconds` at most; returns its result.

    Raises:
        TimedOut: it took longer, and is abandoned. Work that has come to `commit` by then is waited for.
    """
    gate, context = Gate(), contextvars.copy_context()
    context.run(_gate.set, gate)
    done: Future[Any] = Future()

    def do() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001  (raised again where it is waited for)
            done.set_exception(error)

    thread = threading.Thread(target=context.run, args=[do], name="timed", daemon=True)
    thread.start()
    if not wait([done], seconds).done and gate.abandon():
        thread.name = ABANDONED
        raise TimedOut(f"It took longer than {seconds:g} s.")
    return done.result()


def commit() -> None:
    """Say that this work is about to commit: from here on it is not abandoned.

    Raises:
        Abandoned: too late.
    """
    if (gate := _gate.get()) is not None:
        gate.commit()


def refuse() -> None:
    """Stop this thread if its work was abandoned.

    Raises:
        Abandoned: it was.
    """
    if (gate := _gate.get()) is not None:
        gate.refuse()


def is_abandoned() -> bool:
    """Tell whether the work of this thread was abandoned."""
    gate = _gate.get()
    return gate is not None and gate.is_abandoned


def count() -> int:
    """Return how many threads of this process are busy with abandoned work."""
    return sum(thread.name == ABANDONED for thread in threading.enumerate())


def listen(engine: sa.Engine) -> None:
    """Follow which work holds which connections of `engine`."""
    sa.event.listen(engine, "checkout", _lend)
    sa.event.listen(engine, "checkin", _take_back)
    sa.event.listen(engine, "invalidate", _take_back)


def _lend(connection: Connection, record: ConnectionPoolEntry, _fairy: object) -> None:
    gate = _gate.get()
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
