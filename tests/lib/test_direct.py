"""The connection of the hottest path: what `first` promises is what `execute` promises."""

from __future__ import annotations

import contextlib

import psycopg
import pytest

from app.db import db
from app.lib.direct import DirectConnection, DirectPool


@pytest.fixture
def connect(app):
    opened = []

    def connect():
        positional, named = db.engine.dialect.create_connect_args(db.engine.url)
        opened.append(DirectConnection.connect(*positional, **named, autocommit=True))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


@pytest.fixture
def connection(connect):
    made = connect()
    made.execute("CREATE TEMPORARY TABLE kept (key text PRIMARY KEY, number int)")
    return made


INSERT = "INSERT INTO kept VALUES ($1::text, $2::int) ON CONFLICT DO NOTHING RETURNING key, number"


def test_values_and_the_first_row_travel_as_text(connection):
    assert connection.first(INSERT, ["é", 7]) == ["é".encode(), b"7"]
    assert connection.first(INSERT, ["none", None]) == [b"none", None]
    assert connection.first(INSERT, ["", 1]) == [b"", b"1"]


def test_no_row_is_none(connection):
    connection.first(INSERT, ["a", 1])
    assert connection.first(INSERT, ["a", 2]) is None


def test_a_transaction_holds_what_it_wrote_until_its_end(connection):
    with connection.transaction(force_rollback=True):
        connection.first(INSERT, ["a", 1])
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1,)
    assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


@pytest.mark.parametrize("depth", [1, 2])
def test_a_statement_is_still_known_after_a_transaction_was_rolled_back(connection, depth):
    """Psycopg then deallocates all prepared statements of the connection, and not only its own."""
    connection.prepare_threshold = 0
    assert connection.first(INSERT, ["a", 1]) == [b"a", b"1"]
    for _ in range(2):
        with contextlib.ExitStack() as stack:
            for _ in range(depth - 1):
                stack.enter_context(connection.transaction())
            with connection.transaction():
                connection.first(INSERT, ["b", 1])
                connection.execute("SELECT 1")
                raise psycopg.Rollback
            connection.first(INSERT, ["c", 1])
        assert connection.first(INSERT, ["b", 2]) == [b"b", b"2"]
        connection.execute("DELETE FROM kept")


def test_a_statement_outlives_a_rollback_after_which_psycopg_makes_the_server_forget_all(connection):
    """Else a checkpoint fails, whose step is then done and paid for again."""
    connection.prepare_threshold = 0  # as the engine's pool sets it
    assert connection.first(INSERT, ["before", 1])
    with connection.transaction(force_rollback=True):
        connection.execute("SELECT count(*) FROM kept WHERE key = %s", ["before"])
    assert connection.first(INSERT, ["between", 1])  # it has not happened yet
    connection.execute("SELECT 1")
    assert connection.first(INSERT, ["after", 1])
    with connection.transaction():
        connection.execute("SAVEPOINT here")
        connection.execute("ROLLBACK TO SAVEPOINT here")
        connection.execute("SELECT 2")
        assert connection.first(INSERT, ["inside", 1])


def test_a_refused_statement_raises_the_error_of_its_kind(connection):
    plain = "INSERT INTO kept VALUES ($1::text, $2::int)"
    assert connection.first(plain, ["a", 1]) is None
    with pytest.raises(psycopg.errors.UniqueViolation, match="kept_pkey"):
        connection.first(plain, ["a", 1])
    with pytest.raises(psycopg.errors.UndefinedTable):
        connection.first("SELECT 1 FROM nowhere WHERE $1::int = 1", [1])


def test_a_text_with_a_nul_is_refused_and_not_cut_short(connection):
    with pytest.raises(psycopg.DataError, match="NUL"):
        connection.first(INSERT, ["a\0b", 1])
    assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


def test_a_lost_server_is_an_operational_error_each_time(connection, connect):
    connection.first(INSERT, ["a", 1])
    connect().execute("SELECT pg_terminate_backend(%s, 5000)", [connection.info.backend_pid])
    for _ in range(2):
        with pytest.raises(psycopg.OperationalError):
            connection.first(INSERT, ["b", 1])
    assert connection.closed


@pytest.fixture
def pool(connect):
    class Pool(DirectPool):
        def _open(self):
            return connect()

    made = Pool(2)
    yield made
    made.close()


def test_the_connection_that_was_put_back_last_is_lent_first(pool):
    with pool.connection() as first, pool.connection() as second:
        assert first is not second
    with pool.connection() as again:
        assert again is first
    assert not first.closed


def test_a_connection_that_broke_or_was_left_in_a_transaction_is_thrown_away_with_all_idle_ones(pool):
    with pool.connection() as left, pool.connection() as idle:
        left.execute("BEGIN")
    assert left.closed
    with pool.connection() as broken, pool.connection() as idle:
        idle.pgconn.finish()
    assert idle.closed
    assert not broken.closed
    with pool.connection() as fresh:
        assert fresh.execute("SELECT 1").fetchone() == (1,)


def test_a_connection_that_could_not_be_opened_takes_no_place(pool, monkeypatch):
    def away():
        raise psycopg.OperationalError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(pool, "_open", away)
        for _ in range(3):  # with two places
            with pytest.raises(psycopg.OperationalError), pool.connection():
                pass
    with pool.connection() as one:
        assert not one.closed


def test_no_more_connections_are_lent_than_there_are_places(pool):
    with pool.connection(), pool.connection():
        assert pool._permits.empty()
        pool.grow(1)
        with pool.connection():
            assert pool._permits.empty()


def test_a_rollback_forgets_no_prepared_statement(connection):
    connection.prepare_threshold = 0
    connection.first(INSERT, ["a", 1])
    with connection.transaction(force_rollback=True):
        connection.execute("SELECT 1")
    connection.execute("SELECT 2")  # psycopg has all statements deallocated now, those of `first` as well
    with connection.transaction():
        assert connection.first(INSERT, ["b", 2]) == [b"b", b"2"]
