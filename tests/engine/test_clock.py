"""The database's clock is the only clock, and it is never the transaction's start: `now()` loses events (specs, 3.5)."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from app import engine
from app.db import db
from app.engine import Concurrency, NonRetriable, advance, cancel, get_run, list_runs, send, upkeep, workflow
from app.engine.runtime import runtime
from app.engine.schema import metadata
from app.engine.testing import clock, drain

STARTS = re.compile(
    r"(?<![\w.])(?:now|transaction_timestamp|statement_timestamp)\s*\(|\b(?:current_timestamp|localtimestamp|current_time|localtime)\b",
    re.IGNORECASE,
)

# Refuses a time that is the transaction's start, or whole seconds away from it.
GUARD = """
CREATE FUNCTION refuse_starts() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE pair record;
BEGIN
  FOR pair IN SELECT key, value FROM jsonb_each_text(to_jsonb(NEW)) WHERE key LIKE '%\\_at' OR key LIKE '%\\_until' LOOP
    IF extract(epoch FROM pair.value::timestamptz - now()) % 1 = 0
       AND (TG_OP = 'INSERT' OR pair.value IS DISTINCT FROM to_jsonb(OLD) ->> pair.key) THEN
      RAISE EXCEPTION '%.% is the start of the transaction', TG_TABLE_NAME, pair.key;
    END IF;
  END LOOP;
  RETURN NEW;
END $$
"""


def sql_of(source: str) -> list[str]:
    """Return the texts of a module that are no docstrings, also those inside f-strings."""
    tree = ast.parse(source)
    words = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in words
    ]


def uses_a_start(source: str) -> bool:
    """Tell whether a module's SQL, as text or by SQLAlchemy's `func`, asks for the transaction's start."""
    return any(STARTS.search(text) for text in sql_of(source)) or bool(
        re.search(r"\bfunc\.(?:now|current_timestamp|localtimestamp|transaction_timestamp)\b", source)
    )


def test_no_sql_of_the_engine_asks_for_the_start_of_its_transaction():
    files = sorted(Path(engine.__file__).parent.rglob("*.py"))
    assert len(files) > 20
    assert [path.name for path in files if uses_a_start(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    "source",
    ['X = "SELECT now()"', 'X = f"{Y} WHERE due_at <= now ( )"', 'X = "SELECT CURRENT_TIMESTAMP"', "sa.func.now()"],
)
def test_the_test_above_sees_a_start_in_whatever_way_it_is_written(source):
    assert uses_a_start(source)
    assert not uses_a_start('"""now() is no clock."""\nX = "SELECT engine_now()"\nexecution.now()')


@pytest.fixture
def guarded(app, execute):
    """Let every engine table refuse the start of a transaction as a time."""
    execute(GUARD)
    for name in metadata.tables:
        execute(
            f"CREATE TRIGGER refuse_starts BEFORE INSERT OR UPDATE ON {name} FOR EACH ROW EXECUTE FUNCTION refuse_starts()"
        )
    yield
    db.session.rollback()
    execute("DROP FUNCTION refuse_starts CASCADE")


def test_whatever_a_run_goes_through_no_time_is_the_start_of_a_transaction(guarded):
    @workflow(
        "busy",
        on="test/busy",
        backoff=(1,),
        concurrency=[Concurrency(1, key="event.data.key")],
        idempotency="event.data.number",
        on_failure=lambda _ctx, _outcome: None,
    )
    def busy(ctx, step):
        def stumble():
            if ctx.attempt == 1:
                raise RuntimeError("by plan")

        def fail():
            raise NonRetriable("by plan")

        step.run("stumble", stumble)
        step.transaction("write", lambda _session: send("test/other", {}, owner_id=None))
        step.map("piece", lambda s, n: s.run("work", lambda: n), [1, 2])
        step.run("fail", fail)

    for number in range(4):
        send("test/busy", {"key": "same", "number": number}, owner_id=None, id=f"busy-{number}")
    db.session.commit()
    last = list_runs(workflow="busy")[0]
    assert cancel(last.id, "enough")
    db.session.commit()
    assert advance.claim_batch("doomed", 1)
    clock.advance(runtime().ports.lease_seconds + 0.5)
    upkeep.run_pass()
    drain(advance=True)
    assert sorted(run.status for run in list_runs(workflow="busy")) == ["cancelled", "failed", "failed", "failed"]
    assert {run.status for run in list_runs(workflow="busy-failed")} == {"completed"}


def test_the_guard_refuses_a_start(guarded, execute):
    with pytest.raises(sa.exc.DBAPIError, match=r"idem\.expires_at is the start of the transaction") as refused:
        execute("INSERT INTO idem (scope, key, holder, expires_at) VALUES ('a', 'b', gen_random_uuid(), now())")
    assert isinstance(refused.value.orig, psycopg.errors.RaiseException)


def test_an_event_sent_late_in_a_long_transaction_is_of_the_moment_in_which_it_was_sent(app):
    """Its time decides which waits it meets: with the transaction's start, one registered in between would miss it."""

    @workflow("late", on="test/late")
    def late(ctx, step):
        pass

    begun, asked = db.session.execute(sa.text("SELECT now(), clock_timestamp()")).one()
    send("test/late", {}, owner_id=None)
    db.session.commit()
    [run] = list_runs(workflow="late")
    created_at = db.session.scalar(sa.text("SELECT created_at FROM event WHERE name = 'test/late'"))
    assert begun < asked < created_at
    assert asked < get_run(run.id).created_at
