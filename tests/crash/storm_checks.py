"""What must be true after a storm; each check returns sentences about what is not."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
from psycopg.rows import namedtuple_row

from app.engine.options import spacing
from app.engine.registry import registry
from tests.crash.storm_jobs import KINDS

if TYPE_CHECKING:
    from tests.crash.storm import Storm
    from tests.crash.storm_places import Places

GAP_SECONDS = 1.0  # by which a frozen worker may overlap its successor when it wakes (docs/explanation/guarantees.md)
MOST_SHOWN = 5
# The engine's walls log what they did not expect under these names.
WALLS = {"worker.thread_failed", "worker.hints_failed", "beat.failed", "upkeep.failed", "run.not_rescued"}

# How often each thing took effect that can be counted: rows of steps, events of send steps, hooks.
EFFECTS = """
CREATE TEMP TABLE counted AS
SELECT key, count(*) AS number FROM (
  SELECT key FROM effect UNION ALL SELECT data ->> 'key' FROM event WHERE data ->> 'key' IS NOT NULL) AS seen
GROUP BY key;
CREATE TEMP TABLE due AS
SELECT run_id || '/' || key AS key FROM step JOIN run ON run.id = step.run_id
WHERE step.status = 'completed' AND step.kind IN ('run', 'transaction', 'send') AND run.workflow NOT LIKE '%-failed'
UNION ALL
SELECT 'hook of ' || id FROM run WHERE status IN ('failed', 'cancelled', 'dead') AND workflow NOT LIKE '%-failed'
"""
NOT_ONCE = """
SELECT coalesce(due.key, counted.key) || ' took effect ' || coalesce(number, 0) || ' times, not '
  || CASE WHEN due.key IS NULL THEN 'never' ELSE 'once' END
FROM due FULL JOIN counted ON counted.key = due.key WHERE number IS DISTINCT FROM 1 OR due.key IS NULL
"""

NOT_FINAL = """
SELECT 'run ' || id || ' of ' || workflow || ' is ' || status || coalesce(', held by ' || held_by, '')
FROM run WHERE status NOT IN ('completed', 'failed', 'cancelled', 'dead', 'skipped')
"""
ENDED_WRONGLY = """
SELECT 'run ' || id || ' of ' || workflow || ' is ' || status || ', not ' || %(ending)s || coalesce(': ' || error::text, '')
FROM run WHERE workflow = %(workflow)s AND status NOT IN (%(ending)s, %(may_be)s) AND NOT (status = 'cancelled' AND (id = ANY(%(cancelled)s) OR parent_run = ANY(%(cancelled)s)))
"""
STEPS_AMISS = """
SELECT 'run ' || run.id || ' of ' || workflow || ' remembers ' || coalesce(keys, '{}')::text
FROM run LEFT JOIN LATERAL (
  SELECT array_agg(key ORDER BY key COLLATE "C") AS keys FROM step WHERE run_id = run.id AND status = 'completed') AS steps ON true
WHERE workflow = %(workflow)s AND status = %(ending)s AND keys IS DISTINCT FROM %(steps)s::text[]
"""
FAILURES_AMISS = """
SELECT 'step ' || run.id || '/' || %(key)s || ' was tried again after ' || count(step_attempt.key) || ' failures'
FROM run LEFT JOIN step_attempt ON run_id = run.id AND key = %(key)s
WHERE workflow = %(workflow)s AND status = %(ending)s GROUP BY run.id HAVING count(step_attempt.key) < %(number)s
"""
CANCELLED_AMISS = """
SELECT 'run ' || id || ' was cancelled and is ' || status FROM run WHERE id = ANY(%(cancelled)s) AND status = 'completed'
"""
NOT_TOLD_ONCE = """
SELECT 'run ' || run.id || ' of ' || workflow || ' is ' || status || ', which was told ' || count(event.id) || ' times'
FROM run LEFT JOIN event ON event.name LIKE 'run/%%' AND event.data ->> 'run_id' = run.id::text
WHERE workflow NOT LIKE '%%-failed' AND run.status <> 'skipped'
GROUP BY run.id HAVING count(event.id) <> 1 OR min(event.name) <> 'run/' || run.status
"""
NOT_SENT_ONCE = """
SELECT 'event ' || n || ' was sent ' || count(event.id) || ' times and started ' || count(run.id) || ' runs'
FROM generate_series(0, %(events)s - 1) AS n LEFT JOIN event ON event.data ->> 'n' = n::text
LEFT JOIN run ON run.event_id = event.id AND run.workflow NOT LIKE '%%-failed'
GROUP BY n HAVING count(event.id) <> 1 OR count(run.id) > 1 OR count(run.id) = 0 AND min(event.name) <> ALL(%(merged)s)
"""
HEARD_AMISS = """
SELECT 'event ' || event.id || ' started ' || count(run.id) || ' runs'
FROM event LEFT JOIN run ON run.event_id = event.id AND run.workflow NOT LIKE '%%-failed'
WHERE event.name IN ('storm/told', 'storm/asked') GROUP BY event.id HAVING count(run.id) <> 1
"""
CHILDREN_AMISS = """
SELECT 'step ' || parent_run || '/' || parent_step || ' invoked ' || count(*) || ' runs'
FROM run WHERE parent_step IS NOT NULL GROUP BY parent_run, parent_step HAVING count(*) <> 1
"""
WAITS_AMISS = """
SELECT 'a wait of the ended run ' || run_id || ' is ' || wait.status FROM wait JOIN run ON run.id = run_id
WHERE run.finished_at IS NOT NULL AND wait.status = 'open'
"""
# Of each topic the last event was run, and each run is of a later event than the run before it.
MERGED_AMISS = """
SELECT 'the last event of topic ' || topic || ' of ' || name || ' was not run' FROM (
  SELECT DISTINCT ON (name, data ->> 'topic') id, name, data ->> 'topic' AS topic FROM event
  WHERE name = ANY(%(merged)s) ORDER BY name, data ->> 'topic', id DESC) AS last
WHERE NOT EXISTS (SELECT FROM run WHERE event_id = last.id)
UNION ALL
SELECT 'run ' || id || ' of ' || event_name || ' is of an earlier event than the run before it' FROM (
  SELECT id, event_name, event_id,
         lag(event_id) OVER (PARTITION BY event_name, debounce_key ORDER BY created_at, id) AS before
  FROM run WHERE event_name = ANY(%(merged)s) AND workflow NOT LIKE '%%-failed') AS runs WHERE before > event_id
"""
# A run of a singleton begins after the end of the one before it; what is skipped found one that went on, whose end was
# perhaps written and not yet committed (a frozen process is given ten seconds for that).
SINGLE_AMISS = """
SELECT 'run ' || b.id || ' of ' || b.workflow || ' was there beside run ' || a.id FROM run AS a
JOIN run AS b ON b.singleton_key = a.singleton_key AND b.id <> a.id
WHERE a.status <> 'skipped' AND b.status <> 'skipped' AND b.created_at > a.created_at AND b.created_at < a.finished_at
UNION ALL
SELECT 'run ' || id || ' of ' || workflow || ' was skipped for nobody' FROM run
WHERE status = 'skipped' AND NOT EXISTS (
  SELECT FROM run AS other WHERE other.singleton_key = run.singleton_key AND other.status <> 'skipped'
    AND other.created_at <= run.created_at AND other.finished_at > run.created_at - interval '12 seconds')
"""
# A final status is left by nobody, and each claim has an epoch of its own.
LOGGED_AMISS = """
SELECT 'run ' || run || ' went from ' || was || ' to ' || status FROM run_log
WHERE was IN ('completed', 'failed', 'cancelled', 'dead')
UNION ALL
SELECT 'run ' || run || ' was claimed ' || count(*) || ' times with epoch ' || epoch FROM run_log
WHERE was <> 'running' AND status = 'running' GROUP BY run, epoch HAVING count(*) > 1
"""


@dataclass
class Held:
    """A time for which a run held an unexpired lease."""

    run: str
    epoch: int
    flows: tuple[str, ...]
    start: datetime
    end: datetime


def check(connection: psycopg.Connection, storm: Storm, places: Places) -> list[str]:
    """Return everything that is wrong, the first few of each sort."""
    connection.execute(EFFECTS)
    merged = [f"storm/{kind.name}" for kind in KINDS if kind.is_merged]
    values = {"cancelled": storm.cancelled, "events": len(storm.events), "merged": merged}
    found: list[list[str]] = [
        _rows(connection, statement, values)
        for statement in (
            NOT_FINAL,
            NOT_ONCE,
            CANCELLED_AMISS,
            NOT_TOLD_ONCE,
            NOT_SENT_ONCE,
            HEARD_AMISS,
            CHILDREN_AMISS,
            WAITS_AMISS,
            LOGGED_AMISS,
            MERGED_AMISS,
            SINGLE_AMISS,
        )
    ]
    for kind in KINDS:
        wanted = {"workflow": f"storm-{kind.name}", "ending": kind.ending, "steps": sorted(kind.steps), **values}
        wanted["may_be"] = kind.may_be
        found.append(_rows(connection, ENDED_WRONGLY, wanted))
        found.append(_rows(connection, STEPS_AMISS, wanted))
        for key, number in (kind.failures or {}).items():
            found.append(_rows(connection, FAILURES_AMISS, {**wanted, "key": key, "number": number}))
    held = list(_held(connection))
    found += [list(_over_limits(held)), list(_stale_calls(connection, held, storm)), list(_at_the_walls(places))]
    found.append(list(_too_early(connection)))
    return [sentence for sentences in found for sentence in _few(sentences)]


def print_table(connection: psycopg.Connection, storm: Storm) -> None:
    """Print what happened."""
    from tests.crash.storm import say

    say("\nstrikes: " + ", ".join(f"{number} x {name}" for name, number in sorted(storm.strikes.items())))
    rows = connection.execute(
        """SELECT workflow, count(*), count(*) FILTER (WHERE status = 'completed'), count(*) FILTER (WHERE status = 'failed'),
                  count(*) FILTER (WHERE status = 'cancelled'), sum(epoch), max(epoch),
                  percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM finished_at - created_at)),
                  max(extract(epoch FROM finished_at - created_at))
           FROM run GROUP BY workflow ORDER BY workflow"""
    ).fetchall()
    say(
        f"\n{'workflow':28}{'runs':>6}{'completed':>11}{'failed':>8}{'cancelled':>11}{'claims':>8}{'most':>6}{'p50':>8}{'max':>8}"
    )
    for row in rows:
        median, longest = (f"{value or 0:.1f} s" for value in row[7:])
        say(f"{row[0]:28}{row[1]:6}{row[2]:11}{row[3]:8}{row[4]:11}{row[5]:8}{row[6]:6}{median:>8}{longest:>8}")
    [(steps, calls, keys)] = connection.execute(
        "SELECT (SELECT count(*) FROM step), (SELECT count(*) FROM call), (SELECT count(DISTINCT key) FROM call)"
    )
    rescues = connection.execute("SELECT count(*) FROM run_log WHERE was = 'running' AND status = 'queued'").fetchone()
    say(
        f"\n{steps} steps remembered; {calls} calls outside for {keys} steps; {rescues[0]} runs taken over or given back"
    )


def _rows(connection: psycopg.Connection, statement: str, values: dict) -> list[str]:
    return [row[0] for row in connection.execute(statement, values).fetchall()]


def _few(sentences: list[str]) -> list[str]:
    more = len(sentences) - MOST_SHOWN
    return sentences[:MOST_SHOWN] + ([f"... and {more} more like this"] if more > 0 else [])


def _held(connection: psycopg.Connection) -> Iterator[Held]:
    """Yield for each claim the times during which its lease was unexpired, from what the database logged of it.

    A renewal that came after the end begins a time of its own.
    """
    now: dict[str, Held] = {}
    with connection.cursor(row_factory=namedtuple_row) as cursor:
        for row in cursor.execute("SELECT * FROM run_log ORDER BY id"):
            held = now.pop(row.run, None)
            if held is not None:
                if row.status == "running" and row.epoch == held.epoch and row.at <= held.end:
                    held.end = row.lease_until
                    now[row.run] = held
                    continue
                held.end = min(held.end, row.at)
                yield held
            if row.status == "running":
                flows = tuple(key for key in (row.flow_a, row.flow_b) if key)
                now[row.run] = Held(row.run, row.epoch, flows, row.at, row.lease_until)
    yield from now.values()


def _over_limits(held: list[Held]) -> Iterator[str]:
    """At no moment may more runs hold an unexpired lease under a key than it allows."""
    by_key: dict[str, list[tuple[datetime, int, str]]] = defaultdict(list)
    for each in held:
        for key in each.flows:
            by_key[key] += [(each.start, 1, f"{each.run} epoch {each.epoch}"), (each.end, -1, "")]
    for key, changes in by_key.items():
        limit, number = registry.limit_of(key), 0
        for at, change, who in sorted(changes):
            number += change
            if number > limit and change > 0:
                yield f"{number} runs of {key} held a lease at {at}, where {limit} are allowed; the last one is {who}"


def _too_early(connection: psycopg.Connection) -> Iterator[str]:
    """No run may have been due earlier than its throttle allows (`sort_at`; without a key, so that all share one)."""
    for workflow in registry.by_name.values():
        arrival = None
        gap, slack = spacing(workflow.throttle) if workflow.throttle else (0.0, 0.0)
        query = "SELECT id, sort_at FROM run WHERE workflow = %s AND status = 'completed' ORDER BY sort_at"
        for run, due_at in connection.execute(query, [workflow.name]).fetchall() if workflow.throttle else ():
            if arrival is not None and (arrival - due_at).total_seconds() > slack + 0.01:
                yield f"run {run} of {workflow.name} was due at {due_at}, and its throttle allows it at {arrival}"
            arrival = max(arrival or due_at, due_at) + timedelta(seconds=gap)


def _stale_calls(connection: psycopg.Connection, held: list[Held], storm: Storm) -> Iterator[str]:
    """A worker calls outside under its own lease only, but for the documented gap after it was frozen."""
    times: dict[tuple[str, int], list[Held]] = defaultdict(list)
    for each in held:
        times[each.run, each.epoch].append(each)
    for run, key, epoch, pid, at in connection.execute("SELECT run, key, epoch, pid, at FROM call").fetchall():
        is_leased = any(
            each.start <= at and (at - each.end).total_seconds() <= GAP_SECONDS for each in times[run, epoch]
        )
        has_just_woken = any(
            pid == woken and -0.1 <= at.timestamp() - since <= GAP_SECONDS for woken, since in storm.thawed
        )
        if not is_leased and not has_just_woken:
            yield f"{key} was called at {at} by {pid} with epoch {epoch}, whose lease was over"


def _at_the_walls(places: Places) -> Iterator[str]:
    """What reaches the engine's walls is an error that somebody should have foreseen."""
    for log in sorted(places.folder.glob("worker-*.log")):
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            said = json.loads(line) if line.startswith("{") and line.endswith("}") else {}
            if said.get("event") in WALLS:
                yield f"{log.name}: {said['event']} at {said['timestamp']}: {said.get('exception', '').splitlines()[-1:]}"
