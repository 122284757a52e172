"""Workflows for the engine's crash tests and its bench; their effects are rows of the table `effect`."""

from __future__ import annotations

import os
import time

import sqlalchemy as sa

from app.db import db
from app.engine import Concurrency, NonRetriable, workflow
from app.lib import outside

FAST = (0.05,)
CREATE = "CREATE TABLE IF NOT EXISTS effect (id bigserial PRIMARY KEY, run text, step text, pid int, at timestamptz DEFAULT clock_timestamp(), until timestamptz)"


def leave_mark(run_id: str, name: str) -> int:
    """Write a row in the step's own transaction."""
    db.session.execute(
        sa.text("INSERT INTO effect (run, step, pid) VALUES (:run, :step, :pid)"),
        {"run": run_id, "step": name, "pid": os.getpid()},
    )
    return os.getpid()


def mark_outside(run_id: str, name: str, seconds: float = 0.0) -> int:
    """Write a row in a transaction of its own (an outside effect), then take a while."""
    with db.engine.begin() as connection:
        connection.execute(
            sa.text("INSERT INTO effect (run, step, pid) VALUES (:run, :step, :pid)"),
            {"run": run_id, "step": name, "pid": os.getpid()},
        )
    time.sleep(seconds)
    return os.getpid()


@workflow("five-steps", on="crash/five", backoff=FAST)
def five_steps(ctx, step):
    run = str(ctx.run_id)
    pids = [
        step.run("one", mark_outside, run, "one", 0.02),
        step.run("two", leave_mark, run, "two"),
        *step.map("three", lambda s, n: s.run("part", mark_outside, run, f"three{n}", 0.02), [0, 1]),
        step.transaction("four", lambda _session: leave_mark(run, "four")),
    ]
    step.send_event("five", "crash/done", {"run": run})
    return pids


@workflow("slow", on="crash/slow", backoff=FAST)
def slow(ctx, step):
    run = str(ctx.run_id)
    for number in range(3):
        step.run(f"part-{number}", mark_outside, run, f"part-{number}", ctx.event.data.get("seconds", 0.3))


@workflow("hesitate", on="crash/hesitate", backoff=FAST)
def hesitate(ctx, step):
    def write(session):
        leave_mark(str(ctx.run_id), "written")
        session.flush()
        mark_outside(str(ctx.run_id), "asked", 1.0)  # seen by the test, which kills this process now

    step.transaction("write", write)


def mark_failed(_ctx, outcome):
    leave_mark(str(outcome.run_id), "hook")


def worst(ctx, step):
    """Everything that a run does, for a kill in the middle of it: the name of the step is the mark that it leaves."""
    run = str(ctx.run_id)

    def ask_and_write():
        outside.before_outside_call()
        mark_outside(run, "asked")
        return leave_mark(run, "one")

    def fail_once():
        if ctx.attempt == 1:
            raise RuntimeError("by plan")
        return leave_mark(run, "three")

    def give_up():
        raise NonRetriable("by plan")

    step.run("one", ask_and_write)
    step.transaction("two", lambda _session: leave_mark(run, "two"))
    step.run("three", fail_once)
    step.send_event("four", "crash/done", {"run": run})
    if ctx.event.data.get("fails"):
        step.run("five", give_up)


workflow("worst", on="crash/worst", backoff=FAST, on_failure=mark_failed)(worst)
workflow(
    "worst-limited",
    on="crash/worst-limited",
    backoff=FAST,
    on_failure=mark_failed,
    concurrency=[Concurrency(1, key="event.data.key")],
)(worst)


@workflow("asks", on="crash/ask", backoff=FAST, on_failure=mark_failed)
def asks(ctx, step):
    """Wait for what another run answers, which comes before or after the wait (`late`)."""
    run, late = str(ctx.run_id), ctx.event.data["late"]
    step.send_event("ask", "crash/asked", {"id": str(ctx.event.id), "late": late})
    if not late:
        step.sleep("let-it-come", 0.5)
    answer = step.wait_for_event("answer", "crash/answered", if_="arriving.data.id == event.id", timeout="1h")
    step.run("done", leave_mark, run, answer.data["id"])


@workflow("answers", on="crash/asked", backoff=FAST)
def answers(ctx, step):
    if ctx.event.data["late"]:
        step.sleep("think", 0.5)
    step.send_event("answer", "crash/answered", {"id": ctx.event.data["id"]})


@workflow("invokes", on="crash/invoke", backoff=FAST)
def invokes(ctx, step):
    marks = step.invoke("child", "invoked", {"parent": str(ctx.run_id)}, timeout="1h")
    step.run("done", leave_mark, str(ctx.run_id), "done")
    return marks


@workflow("invoked", on=(), backoff=FAST)
def invoked(ctx, step):
    step.run("work", leave_mark, ctx.event.data["parent"], "child")
    return "worked"


@workflow("crash-limited", on="crash/limited", backoff=FAST, concurrency=[Concurrency(2, key="event.data.key")])
def limited(ctx, step):
    step.run("work", hold, str(ctx.run_id), ctx.event.data["seconds"])


@workflow("crash-fails", on="crash/fails", retries=0)
def fails(ctx, step):
    step.run("break", lambda: 1 / 0)


@workflow("stamp", on="bench/stamp")
def stamp(ctx, step):
    step.run("stamp", time.time)


@workflow("ticks", on="bench/ticks")
def ticks(ctx, step):
    def tick():
        time.sleep(0.15)
        return time.time()

    for number in range(ctx.event.data["number"]):
        step.run(f"tick-{number}", tick)


def hold(run_id: str, seconds: float) -> None:
    """Write when the slot was held."""
    with db.engine.begin() as connection:
        mark = connection.execute(
            sa.text("INSERT INTO effect (run, step, pid) VALUES (:run, 'hold', :pid) RETURNING id"),
            {"run": run_id, "pid": os.getpid()},
        ).scalar_one()
    time.sleep(seconds)
    with db.engine.begin() as connection:
        connection.execute(sa.text("UPDATE effect SET until = clock_timestamp() WHERE id = :id"), {"id": mark})
