"""Retention: what ended long ago is deleted, in small batches; what has not ended, never."""

import time
from datetime import datetime
from uuid import UUID

from app.engine.runtime import Connection, logger, runtime
from app.engine.schema import RUNS_ON
from app.engine.store_upkeep import now

BATCH = 200
FLOWS_EVERY = 3600.0  # seconds: finding a key that nobody uses takes a look at all of them

# One statement, so that a run goes with all that it has. Not while whoever invoked it may still ask for its result.
DELETE_RUNS = f"""
WITH old AS MATERIALIZED (
  SELECT id FROM run WHERE finished_at < %s AND NOT EXISTS (
    SELECT FROM run AS above WHERE above.id = run.parent_run AND {RUNS_ON.replace("status", "above.status")})
  ORDER BY finished_at LIMIT %s FOR UPDATE SKIP LOCKED
), steps AS (DELETE FROM step USING old WHERE run_id = old.id RETURNING blob_id
), blobs AS (DELETE FROM blob USING steps WHERE id = blob_id
), attempts AS (DELETE FROM step_attempt USING old WHERE run_id = old.id
), waits AS (DELETE FROM wait USING old WHERE run_id = old.id
), streams AS (DELETE FROM stream USING old WHERE run_id = old.id
), logs AS (DELETE FROM log USING old WHERE run_id = old.id)
DELETE FROM run USING old WHERE run.id = old.id
"""  # noqa: S608  (constant text)

# Ids begin with their time: a batch along the primary key, kept ones too, and no further than that of the cut-off.
NEXT_EVENTS = "SELECT id FROM event WHERE id > %s AND id < %s ORDER BY id OFFSET %s LIMIT 1"
DELETE_EVENTS = """
DELETE FROM event WHERE id IN (
  SELECT id FROM event WHERE id > %s AND id <= %s AND created_at < %s
    AND NOT EXISTS (SELECT FROM run WHERE event_id = event.id)
    AND NOT EXISTS (SELECT FROM wait WHERE wait.event_id = event.id)
    AND NOT EXISTS (SELECT FROM wait WHERE wait.topic = event.topic AND wait.status = 'open'
                    AND wait.since <= event.created_at)
  ORDER BY id FOR UPDATE SKIP LOCKED)
"""

# Whoever needs such a key again makes it again (store_flows.lock). Not one whose starts are still spaced by it.
DELETE_FLOWS = """
DELETE FROM flow WHERE key = ANY(ARRAY(
  SELECT key FROM flow WHERE coalesce(arrival_at <= engine_now(), true)
    AND NOT EXISTS (SELECT FROM run WHERE flow_a = key AND status IN ('queued', 'running'))
    AND NOT EXISTS (SELECT FROM run WHERE flow_b = key AND status IN ('queued', 'running'))
  ORDER BY key LIMIT %s FOR UPDATE SKIP LOCKED))
"""

NOTHING = UUID(int=0)
_flows_at = 0.0  # time.monotonic() of the next look at all flow keys
_events_done = NOTHING  # where the last look at old events got to: those before it that are kept are not read again


def sweep(connection: Connection) -> int:
    """Delete one batch of runs that ended longer ago than `Ports.retention`; when there is none, of events of that age.

    An event stays as long as a run that it started or that has waited for it, and as an open wait may still take it; a
    wait that is met later does not find events from before the cut-off. Returns how many runs or events were deleted.
    """
    kept = runtime().ports.retention
    if kept is None:
        return 0
    _sweep_flows(connection)
    cut_off = now(connection) - kept
    deleted = connection.execute(DELETE_RUNS, [cut_off, BATCH]).rowcount
    if not deleted:
        deleted = _sweep_events(connection, cut_off)
    if deleted:
        logger.info("retention.swept", deleted=deleted)
    return deleted


def _sweep_events(connection: Connection, cut_off: datetime) -> int:
    global _events_done  # noqa: PLW0603
    begin, end = _events_done, UUID(int=int(cut_off.timestamp() * 1000) << 80)
    last = connection.execute(NEXT_EVENTS, [begin, end, BATCH - 1]).fetchone()
    _events_done = NOTHING if last is None else last[0]
    return connection.execute(DELETE_EVENTS, [begin, end if last is None else last[0], cut_off]).rowcount


def _sweep_flows(connection: Connection) -> None:
    global _flows_at  # noqa: PLW0603
    if time.monotonic() >= _flows_at:
        is_more = connection.execute(DELETE_FLOWS, [BATCH]).rowcount == BATCH
        _flows_at = 0.0 if is_more else time.monotonic() + FLOWS_EVERY
