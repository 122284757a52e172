"""Helpers for tests of workflows: run what is due in this process, move the clock, crash at a step."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from psycopg import sql

from app.engine import advance as advancing
from app.engine import memory, reads, sending, starting, store_events, upkeep
from app.engine.queue import Hints
from app.engine.reads import RunView
from app.engine.registry import registry
from app.engine.runtime import runtime
from app.engine.schema import event, run
from app.engine.store import NewMemo, Stored

__all__ = ["Hints", "runtime"]  # besides what is defined here

WORKER = "drain"
MAX_PASSES = 1_000  # over one run: of a step that is put off by a second each time, a day has 86,400


class Clock:
    """The engine's clock in tests: the database's own, moved by an offset. Never goes back but by `reset`."""

    def __init__(self) -> None:
        self.offset = 0.0

    def advance(self, seconds: float) -> None:
        """Move the clock `seconds` on (commits the current session)."""
        if not seconds >= 0:  # nor NaN
            raise ValueError(f"The clock does not go back by {seconds} s: call reset(), or advance less before.")
        self._set(self.offset + seconds)

    def reset(self) -> None:
        """Go back to real time, if the clock was moved."""
        if self.offset:
            self._set(0.0)

    def _set(self, offset: float) -> None:
        state = runtime()
        _commit()
        with state.pool.connection() as connection:
            name = sql.Identifier(connection.info.dbname)
            value = sql.Literal(f"{offset} seconds")
            connection.execute(sql.SQL("ALTER DATABASE {} SET throughline.clock_offset = {}").format(name, value))
        self.offset = offset
        state.pool.close()  # connections take the setting up when they are opened
        state.ports.engine.dispose()


clock = Clock()


class SimulatedCrash(BaseException):
    """The process "died" right after a commit."""


def drain(*, advance: bool = False) -> list[tuple[str, str]]:
    """Run all due runs in this process until nothing is due.

    Commits the current session first, and expires its rows at the end.

    Args:
        advance: jump the clock to the next due retry or expired lease, and go on.

    Returns:
        (workflow, status) of each pass over a run, in order.

    Raises:
        AssertionError: there are more than 1,000 over one run, as of a step that is put off again and again.
    """
    _commit()
    passes: list[tuple[str, str]] = []
    times: Counter[UUID] = Counter()
    while True:
        upkeep.run_pass()
        claimed = advancing.claim_batch(WORKER, 10)
        for item, claimed_at in claimed:
            passes.append((item.workflow, advancing.advance(item, claimed_at)))
            times[item.id] += 1
            if times[item.id] > MAX_PASSES:
                told = (
                    f"The run {item.id} of {item.workflow!r} has not ended after {MAX_PASSES} passes. A RetryAfter that"
                )
                raise AssertionError(f"{told} never ends goes on for 24 hours: put the step off for longer, or count.")
        if not claimed and not (advance and _jump()):
            break
    runtime().ports.session.expire_all()
    return passes


def run_workflow(function: Callable[..., Any], data: dict[str, Any], *, owner_id: UUID | None = None) -> RunView:
    """Start one run of a registered workflow with `data`, run everything due (retries too), return the run."""
    workflow = next(found for found in registry.by_name.values() if found.function is function)
    _commit()
    name = workflow.triggers[0].event.replace("*", "test") if workflow.triggers else ""
    sent = sending.make_event(name if "/" in name else "test/any", data, owner_id=owner_id)
    with runtime().pool.connection() as connection, connection.transaction():
        connection.execute(store_events.INSERT_EVENT, vars(sent))
        runs = starting.insert_runs(connection, [starting.plan(workflow, sent)]).started
    drain(advance=True)
    found = reads.get_run(runs[0].id)
    if found is None:
        raise AssertionError("the run has vanished")
    return found


def sent_events(name: str | None = None) -> list[dict[str, Any]]:
    """Return what was sent, oldest first: name, data, owner_id."""
    query = sa.select(event.c.name, event.c.data, event.c.owner_id).order_by(event.c.id)
    if name is not None:
        query = query.where(event.c.name == name)
    return [dict(row) for row in runtime().ports.session.execute(query).mappings()]


def assert_sent(name: str, **expected: Any) -> dict[str, Any]:
    """Assert that exactly one event of this name has these values in its data; returns its data."""
    everything = sent_events(name)
    found = [item["data"] for item in everything if all(item["data"].get(key) == expected[key] for key in expected)]
    if len(found) != 1:
        raise AssertionError(f"{len(found)} events {name} with {expected} were sent; there are: {everything}")
    data: dict[str, Any] = found[0]
    return data


@contextlib.contextmanager
def crash_after(step_key: str) -> Iterator[None]:
    """Inside this block, "kill" the worker right after the step is remembered; the crash is swallowed here.

    The run keeps its lease, as after a real crash: `drain(advance=True)` jumps to its end and rescues it.
    """
    original = memory._keep  # noqa: SLF001  (what follows the commit, of a failure too)

    def keep(draft: memory._Draft, memo: NewMemo, value: Any, stored: Stored) -> Any:
        if memo.key == step_key:
            raise SimulatedCrash(step_key)
        return original(draft, memo, value, stored)

    memory._keep = keep  # noqa: SLF001
    try:
        with contextlib.suppress(SimulatedCrash):
            yield
    finally:
        memory._keep = original  # noqa: SLF001


@contextlib.contextmanager
def isolated_registry() -> Iterator[None]:
    """Forget inside tests-only workflows at the end of the block."""
    before = dict(registry.by_name)
    try:
        yield
    finally:
        registry.by_name.clear()
        registry.by_name.update(before)


def _commit() -> None:
    session = runtime().ports.session
    if session.registry.has():
        session.commit()


def _jump() -> bool:
    """Move the clock to the next due run or expiring lease; false when nothing is going to happen."""
    query = sa.select(
        sa.func.extract("epoch", sa.func.least(sa.func.min(run.c.due_at), sa.func.min(run.c.lease_until)))
        - sa.func.extract("epoch", sa.func.engine_now())
    ).where(run.c.status.in_(("waiting", "debounced", "running")))
    with runtime().ports.engine.connect() as connection:
        seconds = connection.scalar(query)
    if seconds is None:
        return False
    clock.advance(max(float(seconds), 0.0) + 0.01)
    return True
