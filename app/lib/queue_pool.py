"""Connections for queues that are tables: plans that stay as they are, and locks that nobody keeps for ever."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from app.lib.direct import DirectConnection, DirectPool

# Without the first, each statement is planned anew. The others keep every queue in the order of its index: the
# statistics of a table that was empty a minute ago suggest fetching and sorting 100,000 rows to take the first, and
# those of 100,000 rows that wait for one name, all alike, to read them all for one of another.
PLANNING = """
SET plan_cache_mode = force_generic_plan; SET enable_bitmapscan = off; SET enable_sort = off; SET enable_seqscan = off;
SET max_parallel_workers_per_gather = 0
"""

# The other threads of a process that froze may stand in line for a lock that it keeps, and each would get it in its
# turn and keep it as long: whoever waits gives up before.
WAITING = 0.8  # of the time after which a frozen process loses its locks


class QueuePool(DirectPool):
    """A pool of connections to the database of `engine`.

    A transaction that lies idle for longer than `frozen_seconds()` is ended by PostgreSQL.
    """

    def __init__(self, engine: sa.Engine, size: int, frozen_seconds: Callable[[], float]) -> None:
        self._arguments = engine.dialect.create_connect_args(engine.url)
        self._frozen_seconds = frozen_seconds
        super().__init__(size)

    def _open(self) -> DirectConnection:
        positional, named = self._arguments
        connection = DirectConnection.connect(*positional, **named, autocommit=True)
        frozen = round(self._frozen_seconds() * 1000)
        connection.execute(f"{PLANNING}; SET idle_in_transaction_session_timeout = {frozen}")
        connection.execute(f"SET lock_timeout = {round(frozen * WAITING)}")
        connection.prepare_threshold = 0
        return connection
