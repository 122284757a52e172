"""Connections for the hottest paths: statements straight through libpq, lent by a pool that costs next to nothing."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from queue import SimpleQueue
from typing import Any

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus


class DirectConnection(psycopg.Connection[Any]):
    """A connection whose `first` costs a quarter of what `execute` does.

    `execute` makes a cursor, looks up how each value is adapted and steps through a generator: 20 of the 27 us of
    processor time that a statement with a dozen values takes (docs/decisions/0041-step-overhead.md). It also gives
    the interpreter lock away several times on the way, and gets it back behind all other threads.
    """

    def first(self, statement: str, values: Iterable[object]) -> list[bytes | None] | None:
        """Execute a statement with $1, $2, ... in this connection's transaction (autocommit: in one of its own).

        Every value is sent as its text, so the statement says what it is (`$1::uuid`). Returns the first row in
        PostgreSQL's text format, or None when there is none.

        Raises:
            psycopg.Error: what `execute` would raise.
        """
        texts = [None if value is None else str(value).encode() for value in values]
        if b"\0" in b"".join(filter(None, texts)):  # libpq would take it for the text's end
            raise psycopg.DataError("PostgreSQL text cannot contain NUL (0x00) characters; leave them out.")
        result = self.pgconn.exec_prepared(self._name_of(statement), texts)  # type: ignore[arg-type]  # None is NULL
        self._check(result)
        return [result.get_value(0, n) for n in range(result.nfields)] if result.ntuples else None

    def _name_of(self, statement: str) -> bytes:
        names: dict[str, bytes] = self.__dict__.setdefault("_direct_names", {})
        name = names.get(statement)
        if name is None:
            name = b"direct_%d" % len(names)
            self._check(self.pgconn.prepare(name, statement.encode()))
            names[statement] = name
        return name

    def _deallocate(self, name: bytes | None) -> PQGen[None]:
        """Forget our statements when psycopg makes the server forget all: before what it executes after a rollback."""
        if name is None:
            self.__dict__.pop("_direct_names", None)
        return super()._deallocate(name)

    def _check(self, result: psycopg.pq.abc.PGresult) -> None:
        if result.status in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
            return
        if self.pgconn.status == ConnStatus.BAD:
            raise psycopg.OperationalError(result.get_error_message())
        raise psycopg.errors.error_from_result(result, encoding=self.info.encoding)


class DirectPool(ABC):
    """Lends autocommit connections, the one that was put back last first: its plans are warm."""

    def __init__(self, size: int) -> None:
        self._idle: list[DirectConnection] = []  # list.append and pop are atomic
        self._permits: SimpleQueue[None] = SimpleQueue()  # written in C, unlike a semaphore
        self.grow(size)

    @abstractmethod
    def _open(self) -> DirectConnection: ...

    def connection(self) -> _Lent:
        """Lend a connection for a `with` block, waiting for one; one that broke is thrown away."""
        return _Lent(self)

    def grow(self, more: int) -> None:
        """Allow `more` connections."""
        for _ in range(more):
            self._permits.put(None)

    def close(self) -> None:
        """Close the idle connections (new ones are opened when needed)."""
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _take(self) -> DirectConnection:
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

    def _put_back(self, connection: DirectConnection) -> None:
        if connection.pgconn.transaction_status == TransactionStatus.IDLE:
            self._idle.append(connection)
        else:  # broken, or left inside a transaction
            connection.close()
            self.close()  # the server may have gone away with all of them
        self._permits.put(None)


class _Lent:
    """A connection for the length of a `with` block (a class: a generator costs a microsecond more)."""

    __slots__ = ("_connection", "_pool")

    def __init__(self, pool: DirectPool) -> None:
        self._pool = pool

    def __enter__(self) -> DirectConnection:
        self._connection = self._pool._take()  # noqa: SLF001
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._pool._put_back(self._connection)  # noqa: SLF001
