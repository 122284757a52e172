"""Making one step's memo: try it, commit what it wrote together with its result, or remember how it failed."""

import functools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import psycopg

from app.engine import codec, current, sending, store, store_upkeep
from app.engine.current import Attempt
from app.engine.errors import FAILED, EngineError, LimitExceeded, LostLease, NonRetriable, Park, RetryAfter, StepError
from app.engine.execution import Execution, backoff
from app.engine.runtime import Connection, Verdict, logger, runtime
from app.engine.store import BODY, Memo, NewMemo, PastAttempt, Stored
from app.lib import json_text, timeouts, tracing
from app.lib.away import DATABASE_FAILED
from app.lib.durations import LONGEST
from app.lib.expressions import ExpressionError
from app.lib.ids import new_id

MAX_STATE_BYTES = 32 * 1024 * 1024
MAX_DEFERRAL = timedelta(hours=24)
MANY_DEFERRALS = 20  # of a step: those after them share a row
MANY_STEPS = 1_000
RETRY_SECONDS = 0.2
PROCESS_LOST = {"code": "process_lost", "message": "Its process was lost in its last try; its attempts say how."}
UNFORESEEN = "Something broke on our side."  # what progress says of an error whose text is not for people


class Call(NamedTuple):
    """The work of one step."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    retries: int | None
    timeout: float | None = None  # seconds of one try


def make(execution: Execution, kind: str, key: str, position: list[int], call: Call) -> Any:
    """Try a step once and remember how it ended.

    Raises:
        StepError: it failed for good.
        Park: it is to be tried again later.
        LostLease: the run belongs to another worker.
    """
    past = execution.loaded.attempts.get(key, [])
    failures = sum(not attempt.is_deferral for attempt in past)
    retries = execution.workflow.retries if call.retries is None else call.retries
    if failures <= retries:
        wait_out(execution, past)
    args, kwargs = _arguments(execution, key, call)
    shown = codec.dump_input([*args, *([kwargs] if kwargs else [])])
    attempt = Attempt(key, failures + 1, kind == "transaction")
    number = None if call.timeout is None else len(past) + 1
    draft = _Draft(execution, kind, key, position, shown, time.monotonic(), attempt, number)
    if failures > retries:
        return _fail(draft, StepError(key, PROCESS_LOST), past, 0)
    execution.active[key] = draft.began
    if execution.run.recoveries:  # it may kill its worker again, before the beat has shown it
        _show(execution)
    execution.meta.is_caught_up = True
    try:
        traced = tracing.span(f"step {key}", step=key, kind=kind, attempt=attempt.number)
        with current.trying(attempt), traced:
            if call.timeout is None:
                return _try(draft, call.function, args, kwargs)
            return timeouts.within(call.timeout, functools.partial(_try, draft, call.function, args, kwargs))
    except FAILED as error:  # the step wall: every error becomes a retry or a remembered failure
        return _fail(draft, error, past, retries - failures)
    finally:
        execution.active.pop(key, None)


def wait_out(execution: Execution, past: list[PastAttempt]) -> None:
    """Park for as long as what was tried is not to be tried again."""
    if past and past[-1].retry_at and past[-1].retry_at > execution.now():
        raise Park(past[-1].retry_at)


def value_of(memo: Memo) -> Any:
    """Return a remembered result."""
    if memo.blob_id is None:
        return memo.output
    with runtime().pool.connection() as connection:
        return store.load_blob(connection, memo.blob_id)


def judge(error: BaseException) -> Verdict:
    """Tell what an exception means, asking the application about those that are not the engine's own."""
    if isinstance(error, RetryAfter):
        return Verdict(True, error.seconds, error.code, json_text.text_of(error), is_deferral=True)
    if isinstance(error, StepError):
        return Verdict(False, code=error.code, message=error.message)
    if isinstance(error, timeouts.TimedOut):
        return Verdict(True, code="timeout", message=str(error))
    if isinstance(error, NonRetriable | EngineError | ExpressionError):
        return Verdict(False, code=error.code, message=json_text.text_of(error))
    if not isinstance(error, Exception):
        return Verdict(True, is_foreseen=False)
    return runtime().ports.classify(error)


def pause_after(execution: Execution, failures: int, verdict: Verdict) -> float:
    """Return the seconds until there is another try after so many failures: the other side may have asked for more."""
    return min(max(backoff(execution.workflow, failures), verdict.after_seconds or 0.0), LONGEST)


class _Draft(NamedTuple):
    """A memo that lacks its ending."""

    execution: Execution
    kind: str
    key: str
    position: list[int]
    input: str
    began: float  # time.monotonic()
    attempt: Attempt
    number: int | None  # of the try, when it has a timeout

    def finished(self, status: str, *, output: str | None = None, error: str | None = None) -> NewMemo:
        """Return the memo as it is written."""
        size = len(output or error or "")
        blob_id = new_id() if output and size > codec.MAX_INLINE_BYTES else None
        seconds = time.monotonic() - self.began
        place = f"{{{','.join(map(str, self.position))}}}"
        what = (self.execution.run_id, self.execution.run.epoch, self.key, self.kind, status, place, self.input)
        meta = json.dumps(self.attempt.meta) if self.attempt.meta and output else None
        number = None if status == "failed" else self.number
        return NewMemo(*what, output, blob_id, error, size, seconds, meta, number)


def _show(execution: Execution) -> None:
    active = {"progress": None, "meta": None, "active": execution.active_json(0)}
    with runtime().pool.connection() as connection:
        store_upkeep.show(connection, execution.run.id, execution.run.epoch, active)


def _arguments(execution: Execution, key: str, call: Call) -> tuple[Sequence[Any], dict[str, Any]]:
    """Return what the step is called with: what the body says, or what a person put in its place for a rerun.

    The edited list has the shape that the run page shows: the arguments, then the named ones as one object.
    """
    edited = execution.run.edited
    if not edited or edited["step"] != key:
        return call.args, call.kwargs
    given = edited["input"]
    if call.kwargs and len(given) > len(call.args) and isinstance(given[-1], dict):
        return given[:-1], given[-1]
    return given, call.kwargs


def _try(draft: _Draft, function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    with runtime().ports.app_context():
        try:
            value = function(*args, **kwargs)
        finally:
            draft.execution.streams.flush()  # whoever sees the step done must find its text complete
        text = codec.dump_result(value, f"The result of step {draft.key!r}")
        execution = draft.execution
        if execution.size_bytes + len(text) > MAX_STATE_BYTES:
            raise LimitExceeded("run_state", f"Step {draft.key!r} would bring the run's memos over {MAX_STATE_BYTES}.")
        current.refuse_under_lost_lease()
        memo = draft.finished("completed", output=text)
        stored = _commit(memo)
        if stored.is_new:
            return _keep(draft, memo, json_text.same_again(value, text), stored)
    return value_of(_adopt(execution, draft.key))


def _commit(memo: NewMemo) -> Stored:
    """Commit the memo with whatever the step wrote; a step that wrote nothing costs one statement."""
    session = runtime().ports.session
    if session.registry.has() and session().in_transaction():
        own = session()
        own.flush()
        sending.outbox.empty(own)
        stored = _write(sending.driver(own), memo)
        if stored.is_new:
            with current.trying(None):  # else it would be refused
                own.commit()
        else:
            own.rollback()
    else:
        stored = _write_alone(memo)
    if not stored.is_mine:
        raise LostLease(memo.run_id)
    return stored


def _write_alone(memo: NewMemo) -> Stored:
    """Write a memo that nothing else depends on, again and again while the database is away and the lease lasts.

    Repeating is safe: a memo whose commit was not heard of is found, and adopted. Giving up would repeat the step,
    and its paid call.
    """
    while True:
        try:
            with runtime().pool.connection() as connection:
                if memo.blob_id is None:
                    return _write(connection, memo)
                with connection.transaction() as transaction:
                    stored = _write(connection, memo)
                    if not stored.is_new:
                        raise psycopg.Rollback(transaction)  # there is no memo for its blob
                return stored
        except DATABASE_FAILED as error:
            logger.warning("checkpoint.database_away", run_id=memo.run_id, error=type(error).__name__)
            current.refuse_under_lost_lease()
            time.sleep(RETRY_SECONDS)


def _write(connection: Connection, memo: NewMemo) -> Stored:
    timeouts.commit()
    if memo.blob_id is not None and memo.output is not None:
        store.save_blob(connection, memo.blob_id, memo.output)
        memo = memo._replace(output=None)
    return store.checkpoint(connection, memo)


def _keep(draft: _Draft, memo: NewMemo, value: Any, stored: Stored) -> Any:
    execution = draft.execution
    error = json.loads(memo.error) if memo.error else None
    kept = (memo.key, memo.kind, memo.status, draft.position, None, memo.blob_id, error, memo.size_bytes)
    _remember(execution, Memo(*kept))
    execution.meta.apply(draft.position, draft.attempt.meta if memo.meta else None)
    if stored.requested is not None:
        execution.lease.requested = stored.requested
    runtime().announce(execution.step_topics)
    return value


def _remember(execution: Execution, memo: Memo) -> None:
    with execution.lock:  # of two branches, one counts the thousandth
        execution.loaded.memos[memo.key] = memo
        execution.size_bytes += memo.size_bytes
        is_many = len(execution.loaded.memos) == MANY_STEPS
    if is_many:
        logger.warning("run.many_steps", run_id=execution.run_id, steps=MANY_STEPS)


def _adopt(execution: Execution, key: str) -> Memo:
    """Take over what is remembered under the key in this very epoch (a commit whose answer was lost)."""
    with runtime().pool.connection() as connection:
        memo = store.load_memo(connection, execution.run.id, key)
    if memo is None:
        raise LostLease(execution.run.id)
    _remember(execution, memo)
    if memo.status == "failed":
        raise StepError(key, memo.error or {})
    execution.meta.apply(memo.position, memo.meta)
    return memo


def _fail(draft: _Draft, error: BaseException, past: list[PastAttempt], retries_left: int) -> Any:
    """Remember a failed try; park when another one is due, else remember the failure for good and raise it."""
    execution, key = draft.execution, draft.key
    draft.attempt.meta.clear()
    verdict = judge(error)
    pause = _deferral(past, verdict)
    is_deferral = pause is not None
    if not is_deferral and verdict.retriable and retries_left > 0:
        pause = pause_after(execution, draft.attempt.number, verdict)
    shown = json_text.error_of(error, verdict.code, verdict.message)
    kept = json_text.error_of(error, verdict.code, verdict.message, is_traced=not verdict.is_foreseen)
    attempt = PastAttempt(key, len(past) + 1, is_deferral, execution.at(draft.began), None)
    _log_failure(execution, key, error, verdict, pause)
    with runtime().pool.connection() as connection, connection.transaction():
        retry_at = _record(connection, execution, attempt, kept, pause)
        if pause is None:
            memo = draft.finished("failed", error=json.dumps(shown))
            stored = store.checkpoint(connection, memo)
            if not stored.is_mine:
                raise LostLease(execution.run.id)
    if pause is None and not stored.is_new:
        return value_of(_adopt(execution, key))  # it had succeeded: only the answer of its commit was lost
    if not is_deferral:
        execution.progress.add_error(key, shown["message"] if verdict.is_foreseen else UNFORESEEN)
    if retry_at is not None:
        raise Park(retry_at)
    _keep(draft, memo, None, stored)
    raise StepError(key, shown) from error


def _log_failure(execution: Execution, key: str, error: BaseException, verdict: Verdict, pause: float | None) -> None:
    told: dict[str, Any] = {"run_id": str(execution.run.id), "step": key, "error": type(error).__name__}
    told |= {"retry_in": pause, "abandoned": timeouts.count(), "exc_info": None if verdict.is_foreseen else error}
    (logger.info if verdict.is_foreseen else logger.warning)("step.failed", **told)


def defer_body(execution: Execution, error: BaseException, verdict: Verdict) -> datetime | None:
    """Remember that the body put itself off outside any step; returns until when, or None where it counts as a failure.

    In a transaction before that of the park: a checkpoint's lock and an update of the run in one would deadlock.

    Raises:
        LostLease: the run belongs to another worker.
    """
    past = execution.loaded.attempts.get(BODY, [])
    pause = _deferral(past, verdict)
    if pause is None:
        return None
    attempt = PastAttempt(BODY, len(past) + 1, True, execution.now(), None)
    with runtime().pool.connection() as connection:
        return _record(connection, execution, attempt, json_text.error_of(error, verdict.code, verdict.message), pause)


def _record(
    connection: Connection, execution: Execution, attempt: PastAttempt, error: dict[str, Any], pause: float | None
) -> datetime | None:
    """Remember a try that did not succeed; returns when to try again.

    What is put off every second for a day would have 86,400 rows. So after many tries, the row of the last deferral
    takes up each further one, and is as long as all of them together: of the 24 hours none is lost.

    Raises:
        LostLease: the run belongs to another worker.
    """
    past = execution.loaded.attempts.get(attempt.key, [])
    if len(past) >= MANY_DEFERRALS and attempt.is_deferral and past[-1].is_deferral and past[-1].retry_at:
        attempt = replace(past[-1], started_at=attempt.started_at - (past[-1].retry_at - past[-1].started_at))
    is_mine, retry_at = store.record_attempt(connection, execution.run, attempt, json.dumps(error), pause)
    if not is_mine:
        raise LostLease(execution.run.id)
    return retry_at


def _deferral(past: list[PastAttempt], verdict: Verdict) -> float | None:
    """Return the seconds that a deferral parks for; None when it is none, or would be over 24 hours in all."""
    if not verdict.is_deferral:
        return None
    seconds = min(max(1.0, verdict.after_seconds or 0.0), MAX_DEFERRAL.total_seconds())  # of NaN it makes 1
    waited = sum((try_.retry_at - try_.started_at for try_ in past if try_.is_deferral and try_.retry_at), timedelta())
    return seconds if waited + timedelta(seconds=seconds) <= MAX_DEFERRAL else None
