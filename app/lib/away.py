"""A database that does not do what it is asked to just now: whether it is away, and how to bear with it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg
import sqlalchemy as sa

# It is away, or it refused: a deadlock, a lock that was not to be had, a full disk. No statement that is wrong.
DATABASE_FAILED = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.IdleInTransactionSessionTimeout,  # what a process hears that was frozen inside a transaction
    sa.exc.OperationalError,
    sa.exc.InterfaceError,
    sa.exc.InternalError,  # the same, of a session
)

# What a server says that ends the connection, is about to stop or to start, or has none to spare. What psycopg itself
# says (it cannot connect, or the connection broke) has no such code. Class 08 is that of connections.
_AWAY = {"25P03", "53300", "57P01", "57P02", "57P03", "57P04", "57P05"}


def is_away(error: BaseException) -> bool:
    """Tell whether an error says that the connection to the database was lost, or that there is none to be had.

    A deadlock, a lock that was not to be had and a full disk say nothing like that: the database answers.
    """
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    if not isinstance(cause, DATABASE_FAILED):
        return False
    code = getattr(cause, "sqlstate", None)
    return code is None or code.startswith("08") or code in _AWAY


@contextlib.contextmanager
def bearing_with_database(logger: Any, event: str, **about: Any) -> Iterator[None]:
    """Leave the block when the database is away (logged as `event`) or refuses: others do the rest, or a next pass."""
    try:
        yield
    except DATABASE_FAILED as error:
        if is_away(error):
            logger.warning(event, error=type(error).__name__, **about)
        else:
            logger.exception("database.failed", at=event, **about)


@contextlib.contextmanager
def one_by_one(logger: Any, failed: str, **about: Any) -> Iterator[None]:
    """Leave the block on an error of its own, logged as `failed`; not on the database's: the next would fail, too."""
    try:
        yield
    except DATABASE_FAILED:
        raise
    except Exception:
        logger.exception(failed, **about)


@contextlib.contextmanager
def going_on(logger: Any, away: str, failed: str) -> Iterator[None]:
    """Leave the block on any error, and say so in the log: `away` when it is the database, else `failed`."""
    try:
        with bearing_with_database(logger, away):
            yield
    except Exception:
        logger.exception(failed)


def listen(engine: sa.Engine) -> None:
    """Let a session whose connection was lost beside SQLAlchemy roll back and close without asking it (once an engine).

    Whoever hands the driver's own connection a statement hears that it is gone; SQLAlchemy would find out in the
    rollback after it, and raise there, where an answer is being made of the first error.
    """
    if not sa.event.contains(engine, "rollback", _let_go):
        sa.event.listen(engine, "rollback", _let_go)


def _let_go(connection: sa.Connection) -> None:
    driver: Any = None if connection.closed or connection.invalidated else connection.connection.driver_connection
    if driver is not None and driver.closed:
        connection.invalidate()
