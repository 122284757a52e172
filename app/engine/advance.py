"""Advancing a claimed run: execute its body until it parks or ends, then write which of the two it was."""

import itertools
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg

from app.engine import codec, current, endings, hooks, memory, store, store_admission
from app.engine.after import After, topics
from app.engine.endings import Ended, Ending
from app.engine.errors import FAILED, Cancelled, Leave, LostLease, Park, StepError
from app.engine.execution import Context, Execution, load
from app.engine.registry import registry
from app.engine.runtime import Verdict, logger, runtime
from app.engine.steps import Step
from app.engine.store import Claimed
from app.lib import deadlocks, json_text, tracing
from app.lib.away import bearing_with_database, is_away

_turns = itertools.count(1)
Watch = Callable[[Execution], None]


def claim_batch(worker: str, limit: int) -> list[tuple[Claimed, float]]:
    """Claim up to `limit` due runs: those with limits get the first half, so that neither kind starves the other.

    Of a single one, each kind has its turn. Returns them oldest first.
    """
    state = runtime()
    names, lease = registry.names(isolated=state.isolated), state.ports.lease_seconds
    if not names:
        return []
    claimed_at = time.monotonic()
    with state.pool.connection() as connection:
        share = (limit + next(_turns) % 2) // 2
        wanted = store_admission.candidates(connection, names, share) if share else []
        found = store_admission.admit(connection, wanted, worker=worker, lease=lease)
        found += store.claim(connection, worker=worker, lease=lease, workflows=names, limit=limit - len(found))
        is_more = bool(wanted) or not share
        while is_more and len(found) < limit:
            wanted = store_admission.candidates(connection, names, limit - len(found))
            more = store_admission.admit(connection, wanted, worker=worker, lease=lease)
            found += more
            is_more = bool(more)
    return [(run, claimed_at) for run in sorted(found, key=lambda run: (run.sort_at, run.id))]


def claim_one(worker: str, run_id: UUID) -> tuple[Claimed, float] | None:
    """Claim this run if it is due and fits its limits."""
    state = runtime()
    lease, claimed_at = state.ports.lease_seconds, time.monotonic()
    with state.pool.connection() as connection:
        found = store.claim_these(connection, [run_id], worker=worker, lease=lease)
        if not found:
            wanted = store_admission.candidates_among(connection, [run_id])
            found = store_admission.admit(connection, wanted, worker=worker, lease=lease)
    return (found[0], claimed_at) if found else None


def advance(run: Claimed, claimed_at: float, *, watch: Watch | None = None) -> str:
    """Advance a claimed run until it parks or ends.

    Returns:
        completed, failed, cancelled, waiting, paused or queued; or `lost` when it is another worker's by now, or the
        database is away or refuses (its lease then expires, and it is rescued).
    """
    state = runtime()
    state.announce(topics(run.id, run.subject, run.owner_id))
    execution = None
    try:
        with bearing_with_database(logger, "run.database_away", run_id=str(run.id)):
            while True:
                execution = load(run, registry.by_name[run.workflow], claimed_at=claimed_at, before=execution)
                if watch is not None:
                    watch(execution)
                status = _pass(execution)
                if status != "again":
                    return status
                claimed_at = execution.lease.renewed_at
    except LostLease as lost:
        logger.warning("run.lost", run_id=str(run.id), error=type(lost.__cause__).__name__ if lost.__cause__ else None)
    return "lost"


def give_back(run: Claimed) -> None:
    """Put a claimed run back into the queue, as far as it is still this worker's."""
    _go(run, "queued")


def _go(run: Claimed, status: str, **how: Any) -> bool:
    """Leave the status running, and let those that waited for its slots have them; false if it is not to be left so."""
    with runtime().pool.connection() as connection, connection.transaction():
        is_done = store.leave(connection, run, status, **how)
        promoted = store_admission.promote(connection, run.flows) if is_done else []
    if is_done:
        after = After()
        after.changed(run)
        after.queued(promoted)
        after.tell()
    return is_done


def _pass(execution: Execution) -> str:
    """Execute the body once and write what came of it; `again` when something woke the run before it could park."""
    run = execution.run
    with tracing.span(f"run {run.workflow}", run.trace, workflow=run.workflow, run_id=run.id) as span:
        result = _execute(execution)
        execution.tell()
        status = _end(execution, result) if isinstance(result, Ending) else _leave(execution, result)
        span.set_attribute("throughline.status", status)
        return status


def _execute(execution: Execution) -> Ending | Leave:
    context = Context(execution)
    step = Step(execution)
    try:
        execution.check()
        memory.wait_out(execution, execution.loaded.attempts.get(store.BODY, []))
        with current.executing(execution):
            output = step.enter(hooks.body_of(execution), context, step)
        return Ending("completed", output=codec.dump_result(output, "The workflow's result"))
    except Leave as leaving:
        return leaving
    except Cancelled:
        return Ending("cancelled", reason=None)
    except FAILED as error:
        if is_away(error):
            raise
        return _judge_body(execution, error)


def _judge_body(execution: Execution, error: BaseException) -> Ending | Leave:
    """An escaped StepError fails the run; any other error tries the body again, with a count of its own."""
    if isinstance(error, StepError):
        return Ending("failed", error={**error.error, "step": error.step})
    verdict: Verdict = memory.judge(error)
    due_at = memory.defer_body(execution, error, verdict)
    if due_at is not None:
        return Park(due_at)
    known = {"run_id": str(execution.run.id), "error": type(error).__name__}
    logger.warning("run.body_failed", **known, exc_info=None if verdict.is_foreseen else error)
    if verdict.retriable and execution.run.attempt < execution.workflow.retries:
        pause = memory.pause_after(execution, execution.run.attempt + 1, verdict)
        return Park(execution.now() + timedelta(seconds=pause), is_failure=True)
    told = json_text.error_of(error, verdict.code, verdict.message, is_traced=not verdict.is_foreseen)
    return Ending("failed", error=told)


def _leave(execution: Execution, leaving: Leave) -> str:
    run = execution.run
    told = {"progress": execution.progress.last(), "meta": execution.meta.last(is_whole=isinstance(leaving, Park))}
    if _go(run, leaving.status, due_at=leaving.due_at, failed=leaving.is_failure, **told):
        return leaving.status
    run.attempt += int(leaving.is_failure)
    return _go_round_again(run)


def _go_round_again(run: Claimed) -> str:
    """The run could not be left as intended: something happened meanwhile that the body must see first."""
    with runtime().pool.connection() as connection:
        if not store.look_again(connection, run):
            raise LostLease(run.id)
    return "again"


def _end(execution: Execution, ending: Ending) -> str:
    meta = execution.meta.last(is_whole=ending.status != "cancelled")
    ending = replace(ending, progress=execution.progress.last(), meta=meta)
    return end(execution.run, ending) or _go_round_again(execution.run)


def end(run: Claimed, ending: Ending) -> str | None:
    """End a claimed run; returns its status, or None when it could not be ended like that."""
    ended = finish_repeating(run.id, run.epoch, ending)
    if not ended.is_done:
        return None
    logger.info("run.ended", run_id=str(run.id), workflow=run.workflow, status=ending.status)
    ended.after.tell()
    return ending.status


def finish_repeating(run_id: UUID, epoch: int, ending: Ending) -> Ended:
    """End a run in a transaction of its own; a deadlock is repeated once."""

    def once() -> Ended:
        ended = Ended(is_done=False)
        with runtime().pool.connection() as connection, connection.transaction():
            ended = endings.finish(connection, run_id, epoch, ending)
            if not ended.is_done:
                raise psycopg.Rollback
        return ended

    return deadlocks.repeating(once)
