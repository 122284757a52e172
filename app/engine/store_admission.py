"""SQL of keyed concurrency: who may start, who stands aside, who is next.

A slot is one run that holds an unexpired lease. Admission locks the flow rows in key order and counts in a
second statement: one statement would count on the snapshot from before it waited for the lock, and admit two
of one. A run that does not fit is held by the full key and leaves the claim index; whoever frees a slot
promotes the key's oldest held run in the same transaction. The runs of a paused workflow are held in the same way, by
the key `<workflow>!paused`, which is told from those of limits by having no `#`: values may end in anything.
"""

from dataclasses import dataclass
from uuid import UUID

import psycopg

from app.engine import store, store_flows
from app.engine.registry import registry
from app.engine.runtime import Connection
from app.engine.store import Claimed
from app.lib.rows import rows_of

# A claim holds a key for milliseconds: whoever has it for longer has frozen, and must not stop claims of other keys.
LONG_MS = 200

CANDIDATES = f"""
SELECT id, flow_a, flow_b FROM ({{ready}}) AS ready WHERE {store.IS_NOT_PAUSED} ORDER BY sort_at, id LIMIT %(limit)s
"""  # noqa: S608  (constant text)

CANDIDATES_THESE = """
SELECT id, flow_a, flow_b FROM run
WHERE id = ANY(%(ids)s) AND status = 'queued' AND held_by IS NULL AND flow_a IS NOT NULL ORDER BY sort_at, id
"""

COUNT = """
SELECT key, key IN (SELECT workflow || '!paused' FROM pause),
  (SELECT count(*) FROM run WHERE flow_a = key AND status = 'running' AND lease_until > at)
  + (SELECT count(*) FROM run WHERE flow_b = key AND status = 'running' AND lease_until > at)
FROM unnest(%s::text[]) AS key, engine_now() AS at
"""

# Nobody overtakes: the oldest runs of the key that are ready, whether they were set aside or not. So are those of a
# workflow that was paused, until upkeep lets them go: whoever comes here is of the same one, and a claim asks again.
_READY = "status = 'queued' AND (held_by IS NULL OR held_by IN (%(key)s, workflow || '!paused'))"
OLDEST = f"""
SELECT id FROM (
  (SELECT id, sort_at FROM run WHERE flow_a = %(key)s AND {_READY} ORDER BY sort_at, id LIMIT %(limit)s)
  UNION ALL
  (SELECT id, sort_at FROM run WHERE flow_b = %(key)s AND {_READY} ORDER BY sort_at, id LIMIT %(limit)s)
) AS ready ORDER BY sort_at, id LIMIT %(limit)s
"""  # noqa: S608  (constant text)

# A key begins with the name of its workflow (registry.flow_key): so it goes along the index of candidates.
HOLD = """
UPDATE run SET held_by = %(key)s WHERE id = ANY(ARRAY(
  SELECT id FROM run WHERE status = 'queued' AND held_by IS NULL AND flow_a IS NOT NULL
    AND workflow = split_part(%(key)s, '#', 1) AND (flow_a = %(key)s OR flow_b = %(key)s)
  ORDER BY sort_at, id LIMIT 1000 FOR UPDATE SKIP LOCKED))
"""

PROMOTE = """
UPDATE run SET held_by = NULL WHERE id = ANY(ARRAY(
  SELECT id FROM run WHERE held_by = %(key)s
  ORDER BY sort_at, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
RETURNING workflow, id
"""
BATCH = 1000  # of them at once

# Of one kind, with a limit or without: an index for each.
HOLD_PAUSED = """
UPDATE run SET held_by = workflow || '!paused' WHERE id = ANY(ARRAY(
  SELECT id FROM run WHERE status = 'queued' AND held_by IS NULL AND flow_a IS {} NULL
    AND workflow = ANY(ARRAY(SELECT workflow FROM pause))
  ORDER BY workflow, sort_at, id LIMIT %s FOR UPDATE SKIP LOCKED))
"""


@dataclass(frozen=True)
class Candidate:
    """A queued run with limits."""

    id: UUID
    flow_a: str
    flow_b: str | None

    @property
    def flows(self) -> list[str]:
        """Return its flow keys."""
        return [self.flow_a] + ([self.flow_b] if self.flow_b else [])


def candidates(connection: Connection, workflows: list[str], limit: int) -> list[Candidate]:
    """Peek at the oldest queued runs with limits, without locking them."""
    statement = store.with_ready(CANDIDATES, len(workflows), "flow_a IS NOT NULL")
    return rows_of(Candidate, connection, statement, {"workflows": workflows, "limit": limit})


def candidates_among(connection: Connection, ids: list[UUID]) -> list[Candidate]:
    """Peek at these runs if they are queued and have limits."""
    return rows_of(Candidate, connection, CANDIDATES_THESE, {"ids": ids})


def admit(connection: Connection, wanted: list[Candidate], *, worker: str, lease: float) -> list[Claimed]:
    """Claim those of `wanted` that fit their limits, in a transaction of its own; the others stand aside.

    So do, until upkeep finds their key free, the runs of a key that a frozen process has locked.
    """
    if not wanted:
        return []
    with connection.transaction():
        asked = sorted({key for candidate in wanted for key in candidate.flows})
        keys = _lock(connection, asked)
        for key in set(asked) - set(keys):  # out of the way of all that is behind them
            connection.execute(HOLD, {"key": key})
        wanted = [candidate for candidate in wanted if set(candidate.flows) <= set(keys)]
        free = free_slots(connection, keys)
        next_up = {key: _oldest(connection, key, free[key]) for key in keys}
        admitted = []
        for candidate in wanted:
            if all(free[key] > 0 and candidate.id in next_up[key] for key in candidate.flows):
                admitted.append(candidate.id)
                for key in candidate.flows:
                    free[key] -= 1
        claimed = store.claim_these(connection, admitted, worker=worker, lease=lease, admitted=True) if admitted else []
        for key in keys:
            if free[key] <= 0:
                connection.execute(HOLD, {"key": key})
            else:
                promote(connection, [key], free[key])
    return claimed


def free_slots(connection: Connection, keys: list[str]) -> dict[str, int]:
    """Return how many more runs each key allows; a limit that the code no longer has allows any number."""
    counts = connection.execute(COUNT, [keys]).fetchall()
    return {key: 0 if is_paused else _limit(key) - count for key, is_paused, count in counts}


def promote(connection: Connection, keys: list[str], limit: int = 1) -> list[tuple[str, str]]:
    """Let the oldest held runs of each key be claimed again; returns (workflow, run id) for hints."""
    promoted: list[tuple[str, str]] = []
    for key in keys:
        rows = connection.execute(PROMOTE, {"key": key, "limit": limit}).fetchall()
        promoted += [(workflow, str(run_id)) for workflow, run_id in rows]
    return promoted


def hold_paused(connection: Connection) -> int:
    """Set aside a batch of the queued runs of paused workflows; returns how many."""
    if connection.execute("SELECT FROM pause LIMIT 1").fetchone() is None:
        return 0
    return sum(connection.execute(HOLD_PAUSED.format(kind), [BATCH]).rowcount for kind in ("", "NOT"))


def _lock(connection: Connection, keys: list[str]) -> list[str]:
    """Lock these keys and return them, without those that somebody keeps for long: he is frozen, and others go on."""
    try:
        with connection.transaction():
            connection.execute(f"SET LOCAL lock_timeout = {LONG_MS}")
            store_flows.lock(connection, keys)
        return keys
    except psycopg.errors.LockNotAvailable:
        return [row[0] for row in connection.execute(f"{store_flows.LOCK} SKIP LOCKED", [keys]).fetchall()]


def _oldest(connection: Connection, key: str, limit: int) -> set[UUID]:
    rows = connection.execute(OLDEST, {"key": key, "limit": max(limit, 0)}).fetchall()
    return {row[0] for row in rows}


def _limit(key: str) -> int:
    """Return how many runs a key allows: none of a workflow of newer code, any number under a limit that is gone."""
    if "#" not in key:
        return BATCH
    if key.partition("#")[0] not in registry.by_name:
        return 0
    return registry.limit_of(key) or 1 << 30
