"""The storm's workflows. Each step leaves evidence, so that afterwards it can be counted how often it took effect.

A new kind of workflow is a function and a line of KINDS: the checks know nothing of single kinds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import sqlalchemy as sa

from app.db import db
from app.engine import CancelOn, Concurrency, Debounce, NonRetriable, Singleton, Throttle, workflow
from app.lib import outside

BACKOFF = (0.1, 0.3, 0.6, 1.0)
OPTIONS = {"backoff": BACKOFF, "retries": 8}
SECONDS = 0.2  # a step's work, so that a kill finds many of them in the middle of it

# `effect` has no unique key: a step that took effect twice has two rows. `call` is the world outside: a row of it is
# committed on its own, whatever becomes of the step. `run_log` is written by the database itself.
CREATE = """
CREATE TABLE effect (id bigserial PRIMARY KEY, key text NOT NULL, at timestamptz DEFAULT clock_timestamp());
CREATE TABLE call (id bigserial PRIMARY KEY, run uuid, key text, epoch int, pid int,
                   at timestamptz DEFAULT clock_timestamp());
CREATE TABLE run_log (id bigserial PRIMARY KEY, run uuid, epoch int, was text, status text, lease_until timestamptz,
                      flow_a text, flow_b text, at timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION log_run() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO run_log (run, epoch, was, status, lease_until, flow_a, flow_b)
  VALUES (NEW.id, NEW.epoch, OLD.status, NEW.status, NEW.lease_until, NEW.flow_a, NEW.flow_b);
  RETURN NULL;
END $$;
CREATE TRIGGER log_run AFTER UPDATE ON run FOR EACH ROW
  WHEN ((OLD.status, OLD.epoch, OLD.lease_until) IS DISTINCT FROM (NEW.status, NEW.epoch, NEW.lease_until))
  EXECUTE FUNCTION log_run();
"""


def leave_effect(key: str) -> None:
    """Write a row in the step's own transaction."""
    db.session.execute(sa.text("INSERT INTO effect (key) VALUES (:key)"), {"key": key})


def call_outside(ctx, seconds: float = SECONDS) -> None:
    """Do something that no rollback undoes, then take a while."""
    outside.before_outside_call()
    values = {"run": ctx.run_id, "key": ctx.key, "epoch": ctx.execution.run.epoch, "pid": os.getpid()}
    with db.engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO call (run, key, epoch, pid) VALUES (:run, :key, :epoch, :pid)"), values)
    time.sleep(seconds)


def work(ctx, seconds: float = SECONDS) -> Callable[[], str]:
    """Return a step's function: a call outside, then a row."""

    def work() -> str:
        call_outside(ctx, seconds)
        leave_effect(ctx.key)
        return ctx.key

    return work


def write(ctx) -> Callable[..., str]:
    """Return the function of a transaction step: a row, while it takes a while."""

    def write(session) -> str:
        leave_effect(ctx.key)
        session.flush()
        time.sleep(SECONDS / 2)
        return ctx.key

    return write


def note_failure(ctx, outcome) -> None:
    """The hook of every kind."""
    leave_effect(f"hook of {outcome.run_id}")


@workflow("storm-rows", on="storm/rows", on_failure=note_failure, **OPTIONS)
def rows(ctx, step):
    return [step.run(name, work(ctx)) for name in ("one", "two", "three", "four", "five")]


@workflow("storm-transactions", on="storm/transactions", on_failure=note_failure, **OPTIONS)
def transactions(ctx, step):
    return [step.transaction(name, write(ctx)) for name in ("one", "two", "three", "four", "five")]


@workflow("storm-branches", on="storm/branches", on_failure=note_failure, **OPTIONS)
def branches(ctx, step):
    step.run("begin", work(ctx))
    step.map("piece", lambda s, _item: s.run("work", work(ctx)), [0, 1])
    step.parallel(
        "art",
        {"left": lambda s: s.transaction("write", write(ctx)), "right": lambda s: s.run("work", work(ctx))},
    )


@workflow("storm-flaky", on="storm/flaky", on_failure=note_failure, **OPTIONS)
def flaky(ctx, step):
    def fail_twice():
        if ctx.attempt <= 2:
            leave_effect(ctx.key)  # rolled back with the try
            raise RuntimeError("by plan")
        return work(ctx)()

    step.run("one", work(ctx))
    step.run("two", work(ctx))
    step.run("flaky", fail_twice)
    step.map("piece", lambda s, item: s.run("work", fail_twice if item else work(ctx)), [0, 1])


@workflow("storm-sends", on="storm/sends", on_failure=note_failure, **OPTIONS)
def sends(ctx, step):
    step.run("one", work(ctx))
    step.send_event("tell", "storm/told", {"key": f"{ctx.run_id}/tell"})
    step.run("two", work(ctx))
    step.map("piece", lambda s, n: s.send_event("tell", "storm/told", {"key": f"{ctx.run_id}/piece[{n}]/tell"}), [0, 1])


@workflow("storm-told", on="storm/told", on_failure=note_failure, **OPTIONS)
def told(ctx, step):
    step.transaction("hear", write(ctx))


@workflow(
    "storm-limited",
    on="storm/limited",
    on_failure=note_failure,
    concurrency=[Concurrency(2, key="event.data.room"), Concurrency(3, key="event.data.house")],
    **OPTIONS,
)
def limited(ctx, step):
    return [step.run(name, work(ctx, 0.1)) for name in ("one", "two", "three", "four", "five")]


@workflow("storm-fails", on="storm/fails", on_failure=note_failure, **OPTIONS)
def fails(ctx, step):
    def give_up():
        leave_effect(ctx.key)  # rolled back with the try
        raise NonRetriable("by plan")

    for name in ("one", "two", "three", "four"):
        step.run(name, work(ctx))
    step.run("five", give_up)


@workflow("storm-sleeps", on="storm/sleeps", on_failure=note_failure, **OPTIONS)
def sleeps(ctx, step):
    def nap(s, item):
        s.sleep("nap", 0.3 + item)
        s.run("work", work(ctx))

    step.run("one", work(ctx))
    step.sleep("nap", 1.5)
    step.map("piece", nap, [0, 1])


@workflow("storm-waits", on="storm/waits", on_failure=note_failure, **OPTIONS)
def waits(ctx, step):
    """Wait for what the other one answers; the answer often comes before the wait, and sometimes before a kill."""
    question = ctx.event.data["question"]
    step.send_event("ask", "storm/asked", {"key": f"{ctx.run_id}/ask", "question": question})
    step.run("one", work(ctx))
    answer = step.wait_for_event("answer", "storm/answered", match="data.question", timeout="10m")
    if answer is None or answer.data["question"] != question:
        raise NonRetriable("the answer went to somebody else")
    step.transaction("two", write(ctx))


@workflow("storm-answers", on="storm/asked", on_failure=note_failure, **OPTIONS)
def answers(ctx, step):
    step.run("think", work(ctx))
    data = {"key": f"{ctx.run_id}/answer", "question": ctx.event.data["question"]}
    step.send_event("answer", "storm/answered", data)


@workflow("storm-invokes", on="storm/invokes", on_failure=note_failure, **OPTIONS)
def invokes(ctx, step):
    step.run("one", work(ctx))
    step.invoke("child", child, {}, timeout="10m", cancel_child=True)
    step.map("piece", lambda s, _item: s.invoke("child", "storm-child", {}, timeout="10m"), [0, 1])
    step.transaction("two", write(ctx))


@workflow("storm-child", on="storm/child", on_failure=note_failure, **OPTIONS)
def child(ctx, step):
    return step.run("work", work(ctx))


@workflow(
    "storm-throttled", on="storm/throttled", on_failure=note_failure, throttle=Throttle(2, "3s", burst=2), **OPTIONS
)
def throttled(ctx, step):
    step.run("one", work(ctx))


@workflow(
    "storm-debounced",
    on="storm/debounced",
    on_failure=note_failure,
    debounce=Debounce("1s", key="event.data.topic", timeout="4s"),
    **OPTIONS,
)
def debounced(ctx, step):
    step.run("one", work(ctx))


@workflow(
    "storm-single", on="storm/single", on_failure=note_failure, singleton=Singleton("event.data.topic"), **OPTIONS
)
def single(ctx, step):
    step.run("one", work(ctx))
    step.transaction("two", write(ctx))


@workflow(
    "storm-deleted",
    on="storm/deleted",
    on_failure=note_failure,
    cancel_on=[CancelOn("storm/delete", match="data.question")],
    **OPTIONS,
)
def deleted(ctx, step):
    """Say what cancels this very run; if that were lost, it would wait for ever."""
    step.run("one", work(ctx))
    step.send_event("delete", "storm/delete", {"key": f"{ctx.run_id}/delete", "question": ctx.event.data["question"]})
    step.wait_for_event("never", "storm/never", timeout="1h")


def _nothing(_chance: Random) -> dict:
    return {}


def _rooms(chance: Random) -> dict:
    return {"room": chance.randrange(3), "house": chance.randrange(2)}


def _topic(chance: Random) -> dict:
    return {"topic": chance.randrange(3)}


def _question(chance: Random) -> dict:
    return {"question": chance.getrandbits(50)}


FIVE = ("one", "two", "three", "four", "five")
PIECES = ("piece[0]/work", "piece[1]/work")


@dataclass(frozen=True)
class Kind:
    """A kind of run: its event, its share of all runs, and how each must end when nobody cancels it."""

    name: str  # of the workflow storm-<name> and the event storm/<name>
    share: int
    steps: tuple[str, ...]  # remembered as completed by each one that ends as it should
    ending: str = "completed"
    data: Callable[[Random], dict] = _nothing
    failures: dict[str, int] | None = None  # step -> tries that fail by plan
    may_be: str = ""  # another status in which one may end: skipped
    is_merged: bool = False  # several events are one run, of the last of them
    is_left_alone: bool = False  # nobody pauses it: what a throttle decided is read from when it was due


KINDS = (
    Kind("rows", 10, FIVE),
    Kind("transactions", 10, FIVE),
    Kind("branches", 8, ("begin", *PIECES, "art[left]/write", "art[right]/work")),
    Kind("flaky", 8, ("one", "two", "flaky", *PIECES), failures={"flaky": 2, "piece[1]/work": 2}),
    Kind("sends", 8, ("one", "tell", "two", "piece[0]/tell", "piece[1]/tell")),
    Kind("limited", 16, FIVE, data=_rooms),
    Kind("fails", 5, FIVE[:4], ending="failed"),
    Kind("sleeps", 8, ("one", "nap", "piece[0]/nap", "piece[1]/nap", *PIECES)),
    Kind("waits", 9, ("ask", "one", "answer", "two"), data=_question),
    Kind("invokes", 7, ("one", "child", "piece[0]/child", "piece[1]/child", "two")),
    Kind("throttled", 5, ("one",), is_left_alone=True),
    Kind("debounced", 8, ("one",), data=_topic, is_merged=True),
    Kind("single", 7, ("one", "two"), data=_topic, may_be="skipped"),
    Kind("deleted", 5, ("one", "delete"), ending="cancelled", data=_question),
    # Started by the others.
    Kind("told", 0, ("hear",)),
    Kind("answers", 0, ("think", "answer")),
    Kind("child", 0, ("work",)),
)
