"""Isolated workflows for the crash tests, besides those of `engine_jobs`."""

from __future__ import annotations

import os
import time

from app.engine import Isolated, StepError, isolated, workflow
from tests.crash.engine_jobs import FAST, leave_mark, mark_outside

isolated.GRACE_SECONDS = float(os.environ.get("TEST_GRACE", "10"))
FOR_EVER = 600.0
MEGABYTE = 1 << 20


@workflow("alone", on="alone/five", backoff=FAST, isolated=True)
def alone(ctx, step):
    run = str(ctx.run_id)
    step.run("one", leave_mark, run, "one")
    step.map("two", lambda s, n: s.run("part", mark_outside, run, f"two{n}"), [0, 1])
    return step.run("last", leave_mark, run, "last")


@workflow("alone-slow", on="alone/slow", backoff=FAST, isolated=True)
def slow(ctx, step):
    for number in range(3):
        step.run(f"part-{number}", mark_outside, str(ctx.run_id), f"part-{number}", ctx.event.data["seconds"])


@workflow("alone-once", on="alone/once", backoff=FAST, isolated=True)
def hang_once(ctx, step):
    step.run("first", leave_mark, str(ctx.run_id), "first")
    step.run("hang", lambda: mark_outside(str(ctx.run_id), "hang", FOR_EVER if ctx.attempt == 1 else 0.0))


@workflow("alone-timed", on="alone/timed", backoff=FAST, isolated=True)
def timed(ctx, step):
    try:
        step.run("hang", mark_outside, str(ctx.run_id), "hang", FOR_EVER, retries=0, timeout="1s")
    except StepError as error:
        step.run("next", leave_mark, str(ctx.run_id), "next")
        return error.code


@workflow("alone-greedy", on="alone/greedy", backoff=FAST, isolated=Isolated(memory_bytes=128 * MEGABYTE))
def greedy(ctx, step):
    step.run("little", lambda: len(bytearray(16 * MEGABYTE)))
    step.run("much", lambda: len(bytearray(512 * MEGABYTE)), retries=1)


@workflow("alone-busy", on="alone/busy", backoff=FAST, isolated=Isolated(cpu_seconds=1))
def busy(ctx, step):
    def spin():
        mark_outside(str(ctx.run_id), "spin")
        while True:
            pass

    step.run("spin", spin, retries=1)


@workflow("alone-stamp", on="alone/stamp", isolated=True)
def stamp(ctx, step):
    step.run("stamp", time.time)
