"""Which errors say that the database is away, and which that it is there and refuses."""

from __future__ import annotations

import psycopg
import pytest
import sqlalchemy as sa
import structlog
from psycopg import errors

from app.lib.away import bearing_with_database, is_away

AWAY = [
    psycopg.OperationalError("server closed the connection unexpectedly"),
    psycopg.InterfaceError("the connection is closed"),
    errors.ConnectionTimeout(),
    errors.ConnectionFailure(),
    errors.AdminShutdown(),
    errors.CrashShutdown(),
    errors.CannotConnectNow("the database system is in recovery mode"),
    errors.TooManyConnections(),
    errors.IdleInTransactionSessionTimeout(),
]
THERE = [
    errors.DeadlockDetected(),
    errors.LockNotAvailable(),
    errors.DiskFull(),
    errors.OutOfMemory(),
    errors.QueryCanceled(),
    errors.SerializationFailure(),
    errors.ProgramLimitExceeded(),
    errors.UniqueViolation(),
    ValueError(),
]


def wrapped(error):
    return sa.exc.DBAPIError.instance("SELECT", {}, error, psycopg.Error)


@pytest.mark.parametrize("error", AWAY, ids=lambda error: type(error).__name__)
def test_a_lost_connection_a_shutdown_and_a_recovery_are_a_database_that_is_away(error):
    assert is_away(error)
    assert is_away(wrapped(error))


@pytest.mark.parametrize("error", THERE, ids=lambda error: type(error).__name__)
def test_a_database_that_answers_is_not_away(error):
    assert not is_away(error)
    if isinstance(error, psycopg.Error):
        assert not is_away(wrapped(error))


@pytest.mark.parametrize(
    ("error", "said"), [(AWAY[0], "test.database_away"), (errors.DeadlockDetected(), "database.failed")]
)
def test_both_are_borne_and_the_log_says_which_it_was(error, said):
    log = structlog.testing.CapturingLogger()
    with bearing_with_database(log, "test.database_away"):
        raise error
    assert [call.args[0] for call in log.calls] == [said]


def test_a_statement_that_is_wrong_is_not_borne():
    with pytest.raises(errors.UndefinedColumn), bearing_with_database(structlog.get_logger(), "test.database_away"):
        raise errors.UndefinedColumn
