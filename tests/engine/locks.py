"""Waiting for the moment in which a race is on."""

from __future__ import annotations

import time

from app.engine.runtime import runtime


def waits_for_a_lock(connection):
    """Wait until the backend of a psycopg `connection` waits for a lock; fails when it never does."""
    wait_for_lock_of(connection.info.backend_pid)


def wait_for_lock_of(pid):
    """Wait until the backend `pid` waits for a lock; fails when it never does."""
    deadline = time.monotonic() + 10
    with runtime().pool.connection() as watcher:
        while True:
            row = watcher.execute("SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone()
            if row and row[0] == "Lock":
                return
            assert time.monotonic() < deadline, "it does not wait for the lock"
