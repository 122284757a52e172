"""docs/state_machine.md is what the engine does: every change that the database sees is drawn, and the other way round."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.db import db
from app.engine import (
    Debounce,
    NonRetriable,
    RetryAfter,
    Singleton,
    Throttle,
    advance,
    cancel,
    list_runs,
    list_steps,
    pause,
    resume,
    send,
    upkeep,
    workflow,
)
from app.engine.runtime import runtime
from app.engine.schema import FINAL, RUN_STATUSES, STEP_STATUSES
from app.engine.testing import clock, drain

PAGE = Path(__file__).resolve().parents[2] / "docs" / "state_machine.md"

WATCH = """
CREATE TABLE seen_change (what text, old text, new text);
CREATE FUNCTION see_run() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF TG_OP = 'INSERT' THEN INSERT INTO seen_change VALUES ('run', 'new', NEW.status);
  ELSIF OLD.status <> NEW.status THEN INSERT INTO seen_change VALUES ('run', OLD.status, NEW.status);
  END IF; RETURN NEW; END $$;
CREATE FUNCTION see_step() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO seen_change VALUES ('step', 'running', NEW.status); RETURN NEW; END $$;
CREATE FUNCTION see_attempt() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.retry_at IS NOT NULL THEN INSERT INTO seen_change VALUES ('step', 'running', 'backing-off');
  END IF; RETURN NEW; END $$;
CREATE TRIGGER see_run AFTER INSERT OR UPDATE ON run FOR EACH ROW EXECUTE FUNCTION see_run();
CREATE TRIGGER see_step AFTER INSERT ON step FOR EACH ROW EXECUTE FUNCTION see_step();
CREATE TRIGGER see_attempt AFTER INSERT ON step_attempt FOR EACH ROW EXECUTE FUNCTION see_attempt();
"""
FORGET = "DROP TABLE seen_change; DROP FUNCTION see_run CASCADE; DROP FUNCTION see_step CASCADE; DROP FUNCTION see_attempt CASCADE"


@pytest.fixture
def seen(execute):
    execute(WATCH)
    try:
        yield lambda what: {tuple(row) for row in execute("SELECT old, new FROM seen_change WHERE what = :w", w=what)}
    finally:
        db.session.rollback()
        execute(FORGET)


def section(title):
    text = PAGE.read_text(encoding="utf-8").partition(f"\n## {title}\n")[2]
    return text.partition("\n## ")[0]


def drawn(title):
    arrows = re.findall(r"^\s+(\S+) --> (\S+)$", section(title), re.MULTILINE)
    named = {(old.replace("[*]", "new").replace("_", "-"), new.replace("_", "-")) for old, new in arrows}
    return {(old, new) for old, new in named if new != "[*]"}


def listed(title):
    rows = re.findall(r"^\| ([a-z-]+) \| ([a-z-]+) \|", section(title), re.MULTILINE)
    return {(old, new) for old, new in rows if old != "from"}


def start(how):
    send("test/any", {"how": how}, owner_id=None)
    db.session.commit()


def provoke_starts():
    @workflow("spaced", on="test/spaced", throttle=Throttle(1, "1m"), singleton=Singleton())
    @workflow("rests", on="test/rests", debounce=Debounce("1m"))
    def nothing(ctx, step):
        pass

    for name in ("spaced", "rests"):
        send(f"test/{name}", {}, owner_id=None)
        drain()
        send(f"test/{name}", {}, owner_id=None)  # waits; the same event again is skipped, or puts it off
        send(f"test/{name}", {}, owner_id=None)
        drain(advance=True)
    send("test/rests", {}, owner_id=None)
    db.session.commit()
    cancel(list_runs()[0].id)
    db.session.commit()


def provoke():
    @workflow("any", on="test/any", retries=1, backoff=(60,))
    def any_end(ctx, step):
        how = ctx.event.data["how"]

        def work():
            if how == "wait" or (how == "retry" and ctx.attempt == 1):
                raise RetryAfter(60) if how == "wait" else KeyError
            if how == "fail":
                raise NonRetriable
            if how in ("cancel", "pause"):
                with runtime().ports.app_context():
                    {"cancel": cancel, "pause": pause}[how](ctx.run_id)
                    db.session.commit()

        step.run("work", work)
        step.run("more", int)

    start("cancel first")
    cancel(list_runs()[0].id)
    for how in ("retry", "fail", "cancel"):
        start(how)
    drain(advance=True)
    start("wait")
    drain()
    assert [step.status for step in list_steps(list_runs()[0].id)] == ["backing-off"]
    cancel(list_runs()[0].id)
    start("die")
    for _ in range(6):
        assert advance.claim_batch("doomed", 1)
        clock.advance(31)
        upkeep.run_pass()


def provoke_pauses():
    """Go on after `provoke`: what people pause and resume, and what time does to debounced runs."""

    @workflow("late", on="test/late", debounce=Debounce("1m"))
    def late(ctx, step):
        pass

    do(resume, list_runs(status="dead")[0])
    do(pause, list_runs(status="queued")[0])
    do(resume, list_runs(status="paused")[0])
    start("pause")
    start("wait")
    drain()
    do(pause, list_runs(status="waiting")[0])
    for run in list_runs(status="paused"):
        do(cancel, run)
    for change in (cancel, pause, None):
        send("test/late", {}, owner_id=None)
        db.session.commit()
        [run] = list_runs(status="debounced")
        if change is not None:
            do(change, run)
    do(resume, list_runs(status="paused")[0])
    clock.advance(61)
    drain()


def do(change, run):
    assert change(run.id)
    db.session.commit()


def test_every_change_of_a_run_is_drawn_and_every_drawn_change_happens(seen):
    provoke()
    provoke_pauses()
    provoke_starts()
    assert seen("run") == drawn("Runs") == listed("Runs")


def test_every_change_of_a_step_is_drawn_and_every_drawn_change_happens(seen):
    provoke()
    in_memory = {("new", "running"), ("backing-off", "running")}
    assert seen("step") | in_memory == drawn("Steps") == listed("Steps")


def test_the_states_of_the_tables_are_those_of_the_page():
    assert {state for change in drawn("Runs") for state in change} - {"new"} == set(RUN_STATUSES)
    assert {state for change in drawn("Steps") for state in change} - {"new", "running", "backing-off"} == set(
        STEP_STATUSES
    )
    assert {state for state in RUN_STATUSES if state not in {old for old, _ in drawn("Runs")}} == set(FINAL) - {"dead"}
