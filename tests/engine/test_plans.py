"""With 20,000 runs that sleep, wait and have ended, each statement takes the index that is meant for it."""

from __future__ import annotations

import itertools
import re
from datetime import timedelta
from uuid import UUID

import pytest
from psycopg import sql

from app.engine import children, endings, retention, store, store_admission, store_starting, store_upkeep, waits
from app.engine.runtime import runtime
from app.engine.store_upkeep import now
from app.lib.ids import new_id

MANY = 20_000
MOST_PAGES = 100  # 20,000 rows are a thousand and more
ID = "('01{}' || lpad(to_hex(n), 8, '0') || '70008000000000000000')::uuid"
RUN = UUID("01910000004d70008000000000000000")
FILL = (
    f"""
INSERT INTO event (id, name, data, topic, created_at, matched_at)
SELECT {ID.format(90)}, 'a/b', '{{}}', ':a/b', engine_now(), engine_now() FROM generate_series(1, {MANY}) AS n""",
    f"""
INSERT INTO run (id, workflow, version, status, event_id, event_name, sort_at, created_at, started_at, finished_at)
SELECT {ID.format(90)}, 'done', 1, 'completed', {ID.format(90)}, 'a/b', engine_now(), engine_now(), engine_now(),
       engine_now() FROM generate_series(1, {MANY}) AS n""",
    f"""
INSERT INTO run (id, workflow, version, status, event_id, event_name, sort_at, created_at, started_at, due_at)
SELECT {ID.format(91)}, 'waits', 1, 'waiting', {ID.format(90)}, 'a/b', engine_now(), engine_now(), engine_now(),
       engine_now() + interval '3 days' * sign(n - 1.5) FROM generate_series(1, {MANY}) AS n""",
    f"""
INSERT INTO wait (run_id, key, topic, kind, match_path, match_value, since, due_at, created_at, scanned_at)
SELECT {ID.format(91)}, 'w', ':c/d', 'event', '{{id}}', md5(n::text), engine_now(), engine_now() + interval '3 days',
       engine_now(), engine_now() FROM generate_series(1, {MANY}) AS n""",
    f"""
INSERT INTO run (id, workflow, version, status, event_id, event_name, sort_at, created_at, flow_a)
SELECT {ID.format(92)}, 'elsewhere', 1, 'queued', {ID.format(90)}, 'a/b', engine_now(), engine_now(),
       CASE WHEN n % 2 = 0 THEN 'elsewhere#0:' || n END FROM generate_series(1, {MANY}) AS n""",
    f"""
INSERT INTO run (id, workflow, version, status, event_id, event_name, sort_at, created_at, held_by, flow_a)
SELECT {ID.format(93)}, 'full', 1, 'queued', {ID.format(90)}, 'a/b', engine_now(), engine_now(), 'full#0:', 'full#0:'
FROM generate_series(1, {MANY}) AS n""",
    f"""
INSERT INTO idem (scope, key, holder, expires_at)
SELECT 'event', n, {ID.format(90)}, engine_now() + interval '1 day' * sign(n - 1.5)
FROM generate_series(1, {MANY}) AS n""",
)  # fmt: skip
EVENT = {"id": new_id(), "topic": ":c/d", "values": ["28dd2c7955ce926456240b2ff0100bde"]}
CLAIM = {"worker": "x", "lease": 1, "workflows": ["none", "waits"], "limit": 10}
STATEMENTS = {
    "the waits of an event": (waits.PAIRS_OF_EVENT, EVENT),
    "the events of a wait": (waits.PAIRS_OF_WAIT, [RUN, "w"]),
    "the waits that an older event may end": (waits.BEHIND, {"event_id": EVENT["id"], "runs": [RUN], "keys": ["w"]}),
    "the end of waits": (waits.TAKE, {"topic": ":c/d", "event_id": EVENT["id"], "runs": [RUN], "keys": ["w"]}),
    "a wait that ends by time": (waits.TIME_OUT, {"run_id": RUN, "key": "w"}),
    "a wait that cannot be told": (waits.SPOIL, ["no", RUN, "w"]),
    "an event that nobody waits for": (waits.NOBODY_WAITS, [[EVENT["id"]]]),
    "the waits of a run": (waits.STATES, [RUN, None]),
    "the waits of a run that ends": (endings.CLOSE_WAITS, [RUN]),
    "forgotten events": (waits.FORGOTTEN_EVENTS, [0.5, 500]),
    "forgotten waits": (waits.FORGOTTEN_WAITS, [500]),
    "a claim": (store.with_ready(store.CLAIM, 2, "flow_a IS NULL"), CLAIM),
    "a wake": (store.WAKE, [[RUN]]),
    "candidates": (store.with_ready(store_admission.CANDIDATES, 2, "flow_a IS NOT NULL"), CLAIM),
    "slots": (store_admission.COUNT, [["a#0:"]]),
    "the next of a key": (store_admission.OLDEST, {"key": "a#0:", "limit": 5}),
    "promotion": (store_admission.PROMOTE, {"key": "a#0:", "limit": 5}),
    "one of many that are promoted": (store_admission.PROMOTE, {"key": "full#0:", "limit": 1}),
    "the next of a full key": (store_admission.OLDEST, {"key": "full#0:", "limit": 5}),
    "what is set aside": (store_admission.HOLD, {"key": "full#0:"}),
    "paused workflows": (store_admission.HOLD_PAUSED.format(""), [1000]),
    "cancelled runs that were given back": (f"{store_upkeep.UNHEEDED} ORDER BY deadline_at LIMIT 500", []),
    "due runs": (store_upkeep.WAKE_DUE, [500]),
    "the next due": (store_upkeep.NEXT_DUE, [["x"]]),
    "overdue runs": (f"{store_upkeep.OVERDUE} ORDER BY deadline_at LIMIT 500", []),
    "expired leases": (store_upkeep.EXPIRED, [500]),
    "keys that have expired": (store_upkeep.FORGET, [500]),
    "held keys": (store_upkeep.HELD_KEYS, []),
    "a singleton": (store_starting.GOING_ON, [["a#singleton:"]]),
    "a debounce": (store_starting.DEBOUNCED, ["a#debounce:"]),
    "children": (children.FIND, [RUN, None]),
    "a lock": (endings.LOCK, {"ids": [RUN]}),
    "old runs": (retention.DELETE_RUNS, [None, 200]),
    "old flow keys": (retention.DELETE_FLOWS, [200]),
}


# Statistics of another load: 300 runs that have all ended, and waits that are all closed.
OTHER_LOAD = (
    f"""
INSERT INTO event (id, name, data, topic, created_at, matched_at)
SELECT {ID.format(80)}, 'a/b', '{{}}', ':a/b', engine_now(), engine_now() FROM generate_series(1, 300) AS n""",
    """
INSERT INTO run (id, workflow, version, status, event_id, event_name, sort_at, created_at, started_at, finished_at)
SELECT id, 'done', 1, 'completed', id, 'a/b', engine_now(), engine_now(), engine_now(), engine_now() FROM event""",
    """
INSERT INTO wait (run_id, key, topic, kind, status, since, created_at, scanned_at)
SELECT id, 'w', ':c/d', 'event', 'closed', engine_now(), engine_now(), engine_now() FROM event""",
    "ANALYZE",
    "DELETE FROM wait",
    "DELETE FROM run",
    "DELETE FROM event",
)


@pytest.fixture
def filled(request):
    with runtime().pool.connection() as connection:
        for statement in OTHER_LOAD if request.param == "other load" else ():
            connection.execute(statement)
        for statement in FILL:
            connection.execute(statement)
        connection.execute(
            "INSERT INTO event (id, name, data, topic, created_at) VALUES (%s, 'c/d', '{}', ':c/d', engine_now())",
            [EVENT["id"]],
        )
        if request.param == "analyzed":
            connection.execute("ANALYZE")
        yield connection


def explain(connection, statement, values):
    """Return the plan that is made once for any values, as the engine's connections ask for (runtime.PLANNING)."""
    named = isinstance(values, dict)
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", statement)))
    numbers = itertools.count(1)
    text = re.sub(r"%s|%\((\w+)\)s", lambda it: f"${names.index(it[1]) + 1 if named else next(numbers)}", statement)
    connection.execute(f"PREPARE it AS {text}".replace("%%", "%").encode(), prepare=False)
    given = sql.SQL(", ").join(sql.Literal(values[name]) for name in names) if named else None
    given = given or sql.SQL(", ").join(sql.Literal(value) for value in values)
    execute = sql.SQL("EXECUTE it ({})" if values else "EXECUTE it").format(given)
    explained = sql.SQL("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {}").format(execute)
    found = connection.execute(explained, prepare=False).fetchall()
    connection.execute("DEALLOCATE it", prepare=False)
    return found


@pytest.mark.parametrize("filled", ["empty a minute ago", "other load", "analyzed"], indirect=True)
def test_no_statement_reads_what_it_is_not_about(filled):
    long_ago = now(filled) - timedelta(days=90)
    pages = {}
    for name, (statement, values) in STATEMENTS.items():
        given = [long_ago if value is None and name == "old runs" else value for value in values]
        with filled.transaction(force_rollback=True):
            [[[plan]]] = explain(filled, statement, values if isinstance(values, dict) else given)
        pages[name] = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
    assert {name: read for name, read in pages.items() if read > MOST_PAGES} == {}
