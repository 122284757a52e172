"""Deadlocks: PostgreSQL ends one of the two transactions, whose work is then done once more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import psycopg

T = TypeVar("T")


def repeating(work: Callable[[], T]) -> T:
    """Return what `work` does, a whole transaction; the first deadlock is forgiven."""
    try:
        return work()
    except psycopg.errors.DeadlockDetected:
        return work()


def repeating_inside(connection: psycopg.Connection[Any], work: Callable[[], T]) -> T:
    """Return what `work` does inside a transaction on `connection`; the first deadlock costs only what it did."""
    connection.execute("SAVEPOINT deadlocks")
    try:
        result = work()
    except psycopg.errors.DeadlockDetected:
        connection.execute("ROLLBACK TO SAVEPOINT deadlocks")
        result = work()
    connection.execute("RELEASE SAVEPOINT deadlocks")
    return result
