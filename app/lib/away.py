"""A database that is away for a while: which errors say so, and how to bear with it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg
import sqlalchemy as sa

DATABASE_IS_AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.IdleInTransactionSessionTimeout,  # what a process hears that was frozen inside a transaction
    sa.exc.OperationalError,
    sa.exc.InterfaceError,
)


@contextlib.contextmanager
def bearing_with_database(logger: Any, event: str, **about: Any) -> Iterator[None]:
    """Leave the block when the database is away, and say so in the log: others do the rest, or the next pass."""
    try:
        yield
    except DATABASE_IS_AWAY as error:
        logger.warning(event, error=type(error).__name__, **about)


@contextlib.contextmanager
def going_on(logger: Any, away: str, failed: str) -> Iterator[None]:
    """Leave the block on any error, and say so in the log: `away` when it is the database, else `failed`."""
    try:
        with bearing_with_database(logger, away):
            yield
    except Exception:
        logger.exception(failed)
