"""Playing a random program on the engine to its end, and comparing what came of it with the model."""

from __future__ import annotations

import contextlib
import os

from hypothesis import HealthCheck, settings

from app.db import db
from app.engine import memory, send
from app.engine.runtime import runtime
from app.engine.schema import create_schema
from app.lib.ids import new_id
from tests.engine import chaos, model
from tests.engine.programs import Interpreter, waits_outside

EXAMPLES = int(os.environ.get("THROUGHLINE_EXAMPLES", "0"))  # 0: as many as a normal run of the tests bears
TIMEOUT = 120 if EXAMPLES == 0 else 0  # of a test, in seconds (0: none)
CONNECTIONS = 12  # besides the engine's own: of the processes that there are at once
TABLES = ("event", "run", "step", "step_attempt", "flow", "wait", "pause", "idem", "blob", "effect", "worker")
COURSE = 7
A_WEEK = 7 * 86_400.0
NEXT = """
SELECT extract(epoch FROM min(CASE status WHEN 'running' THEN lease_until ELSE due_at END) - engine_now()),
       bool_or(status = 'running')
FROM run WHERE status IN ('waiting', 'debounced', 'running')
"""


def bounded(examples, **more):
    """Return the settings of a test: new cases each time, as many as asked for."""
    return settings(
        max_examples=EXAMPLES or examples,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
        **more,
    )


@contextlib.contextmanager
def house(monkeypatch):
    """Prepare the database, the connections and the clock; leave nothing of it behind."""
    state = runtime()
    for name in ("hint", "announce"):
        monkeypatch.setattr(state, name, lambda _what: None)
    monkeypatch.setattr(memory, "RETRY_SECONDS", 0)
    execute("CREATE TABLE effect (run_id uuid, site int, key text)")
    execute("CREATE SEQUENCE quick_clock")
    execute(chaos.SEQUENCE_CLOCK)
    state.pool.grow(CONNECTIONS)
    try:
        with chaos.seams():
            yield
    finally:
        for _ in range(CONNECTIONS):
            state.pool._permits.get()
        db.session.rollback()
        with db.engine.begin() as connection:
            create_schema(connection)
        execute("DROP TABLE effect")
        execute("DROP SEQUENCE quick_clock")


def execute(statement, *values):
    """Execute a statement on a connection of the engine's, and return its rows."""
    with runtime().pool.connection() as connection:
        cursor = connection.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []


def empty():
    """Forget everything, and go back in time."""
    db.session.rollback()
    chaos.meanwhile.clear()
    for name in TABLES:
        execute(f"DELETE FROM {name}")
    chaos.clock.reset()


def seconds_to_next():
    """Return when a run is due or its lease expires, and whether leases would expire with it; None: never."""
    [(seconds, is_running)] = execute(NEXT)
    return None if seconds is None else (max(float(seconds), 0.0) + 0.01, is_running)


class Play:
    """One program, started by one event, and the events that are to come for it from outside."""

    def __init__(self, program, interpreter: Interpreter | None = None, first: int = 0) -> None:
        self.program, self.first, self.owner = program, first, new_id()
        self.interpreter = interpreter or Interpreter()
        self.interpreter.register()
        self.outside = list(waits_outside(program, (first, COURSE)))
        chaos.meanwhile.append(self.send_outside)
        send("program/start", {"n": first, "course": COURSE, "program": program}, owner_id=self.owner)
        db.session.commit()

    def runs(self):
        """Return the program's runs: their number -> id."""
        rows = execute(
            "SELECT event.data, run.id FROM run JOIN event ON event.id = event_id "
            "WHERE run.owner_id = %s AND workflow = 'program'",
            self.owner,
        )
        found = {data["n"]: run_id for data, run_id in rows}
        assert len(rows) == len(found), "a child was started twice"
        return found

    def send_outside(self) -> bool:
        """Send the next event that a run of this program is to wait for, or waits for; false when there is none."""
        runs = self.runs()
        for item in self.outside:
            run, number, course = item
            if run in runs:
                self.outside.remove(item)
                name = f"outside/n{number}"
                send(name, {"n": -1, "course": course}, owner_id=new_id())
                send(name, {"n": number, "course": course}, owner_id=self.owner, id=f"n{number}")
                send(name, {"n": number, "course": course}, owner_id=self.owner, id=f"n{number}")
                db.session.commit()
                return True
        return False

    def check(self) -> None:
        """Compare everything that came of the program with what the model says."""
        runs = self.runs()
        memos = dict(
            execute("SELECT run_id || '/' || key, output FROM step WHERE kind IN ('now', 'random')"),
        )
        world = model.World(lambda number, key: memos[f"{runs[number]}/{key}"])
        model.ModelRun(world, self.first, COURSE).end(self.program)
        self._check_runs(world, runs)
        self._check_effects(world, list(runs.values()))

    def _check_runs(self, world, runs):
        ids = {run_id: number for number, run_id in runs.items()}
        rows = execute(
            "SELECT id, status, output, error, meta FROM run WHERE owner_id = %s AND workflow = 'program'", self.owner
        )
        found = {}
        for run_id, status, output, error, meta in rows:
            result = output if status == "completed" else (error or {}).get("step")
            found[ids[run_id]] = (status, result, meta or {})
        assert found == world.runs, self.history()
        hooks = execute("SELECT status FROM run WHERE owner_id = %s AND workflow <> 'program'", self.owner)
        assert hooks == [("completed",)] * sum(status == "failed" for status, _, _ in world.runs.values())
        assert execute("SELECT * FROM wait WHERE run_id = ANY(%s) AND status = 'open'", list(ids)) == []

    def history(self):
        """Return what is known of the program's runs, for whoever looks into a failure."""
        runs = (
            "SELECT id, status, epoch, attempt, recoveries, wake_seq, due_at, parent_step, output FROM run ORDER BY id"
        )
        steps = "SELECT run_id, key, kind, status, left(output::text, 100), error, finished_at FROM step ORDER BY 7"
        queries = (runs, steps, "SELECT run_id, key, number, error->>'message', retry_at FROM step_attempt")
        lines = [str(row) for query in queries for row in execute(query)]
        return "\n".join(lines)

    def _check_effects(self, world, ids):
        rows = execute("SELECT site, key FROM effect WHERE run_id = ANY(%s)", ids)
        assert sorted(rows) == sorted(world.rows), "not every remembered step has taken effect once"
        sent = execute(
            "SELECT name, (data->>'n')::int, (data->>'course')::int FROM event "
            "WHERE owner_id = %s AND name ~ '^(shared|told)/' ORDER BY id",
            self.owner,
        )
        assert sorted(sent) == sorted((event["name"], event["n"], event["course"]) for event in world.events)
        ended = execute("SELECT name FROM event WHERE owner_id = %s AND name LIKE 'run/%%'", self.owner)
        assert sorted(ended) == sorted((f"run/{status}",) for status, _, _ in world.runs.values())
        mine = [call for call in self.interpreter.calls if call[2].split("/")[0] in set(map(str, ids))]
        assert {(number, key) for number, key, _ in mine} == world.calls
        keys = {(number, key): ctx_key for number, key, ctx_key in mine}
        assert all(keys[number, key] == ctx_key for number, key, ctx_key in mine)


def finish(games: list[Play], faults=()) -> None:
    """Go on until nothing is to be done any more; `faults`: those of one life after the other."""
    lives = list(faults)
    for _ in range(1000):
        life = lives.pop(0) if lives else []
        done = chaos.drain(life)
        assert life or "lost" not in done, "a run was lost without a fault"
        if done or life or any([game.send_outside() for game in games]):  # noqa: C419  (of each game)
            continue
        due = seconds_to_next()
        if due is None:
            return
        assert due[0] < A_WEEK, "a run was not woken"
        chaos.clock.advance(due[0])
    raise AssertionError("it goes on for ever")
