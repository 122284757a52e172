"""Waiting for the moment in which a race is on."""

from __future__ import annotations

import time

from app.engine.runtime import runtime


def waits_for_a_lock(connection):
    """Wait until the backend of a psycopg `connection` waits for a lock; fails when it never does."""
    wait_for_lock_of(connection.info.backend_pid)


def wait_for_lock_of(pid):
    """Wait until the backend `pid` waits for a lock; fails when it never does."""
    _wait_for("SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'", pid)


def wait_for_one_behind(connection):
    """Wait until some backend waits for what a psycopg `connection` has locked; fails when none ever does."""
    _wait_for("SELECT FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))", connection.info.backend_pid)


def _wait_for(query, pid):
    deadline = time.monotonic() + 10
    with runtime().pool.connection() as watcher:
        while watcher.execute(query, [pid]).fetchone() is None:
            assert time.monotonic() < deadline, "it does not wait for the lock"
