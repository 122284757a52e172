"""`step`: the verbs of a workflow's body. Each runs once, and is remembered under its path."""

from __future__ import annotations

import bisect
import contextlib
import functools
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from app.engine import ai, branches, children, codec, current, memory, sending, waits
from app.engine.children import Child
from app.engine.errors import EngineError, Interrupt, LimitExceeded, LostLease, Park, StepError, StepKindChanged
from app.engine.execution import Execution
from app.engine.memory import Call
from app.engine.options import MAX_RETRIES
from app.engine.registry import RETRIES, registry
from app.engine.runtime import logger, runtime
from app.engine.store import Memo
from app.engine.store_events import Event
from app.engine.waits import Wanted
from app.lib import arguments
from app.lib.away import DATABASE_FAILED, is_away
from app.lib.durations import Duration, above_zero, seconds

MAX_STEPS = 10_000
MAX_KEY = 500
T = TypeVar("T")
BRANCHES = "branches"  # the kind of map and parallel, which have no memo of their own


class Step:
    """The steps of one body, or of one branch of it.

    A key is a path: the step's id, its n-th repeat `id:1`, inside a branch `section[3]/piece:2`; so the timing of
    threads never changes a key.
    """

    def __init__(self, execution: Execution, prefix: str = "", position: Sequence[int] = ()) -> None:
        self._execution = execution
        self.key, self.number = "", execution.run.attempt + 1  # outside of steps; as those of an attempt
        self._prefix = prefix
        self._position = list(position)
        self._met: dict[str, int] = {}
        self._verbs = 0
        self._last = 0  # the place of the verb that the body met last, or of one behind it
        self._thread: int | None = None  # which alone may use it now: none while its branches run, or when it has ended
        self.interrupt: Interrupt | StepKindChanged | None = None

    def run(
        self,
        id: str,
        function: Callable[..., Any],
        *args: Any,
        retries: int | None = None,
        timeout: Duration | None = None,
        **kwargs: Any,
    ) -> Any:
        """Run `function(*args, **kwargs)` and remember its result (JSON).

        What the function wrote to the database and the memo are committed together; its effects elsewhere happen
        at least once (pass `ctx.key` to services that recognise repeats).

        Args:
            id: stable kebab-case verb.
            function: the work; at most one outside call.
            *args: passed on; shown on the run page.
            retries: tries after the first one, instead of the workflow's.
            timeout: how long one try may take, for example "10m". A thread cannot be killed: the try is abandoned, what
                it still does is refused, and its thread is busy until it returns (`isolated` workflows end theirs).
            **kwargs: passed on.

        Raises:
            StepError: it failed for good.
        """
        most = None if timeout is None else _fit(id, above_zero, timeout)
        return self._advance("run", id, Call(function, args, kwargs, retries, most))

    def transaction(
        self,
        id: str,
        function: Callable[..., Any],
        *args: Any,
        retries: int | None = None,
        timeout: Duration | None = None,
        **kwargs: Any,
    ) -> Any:
        """Run `function(session, *args, **kwargs)` and commit its rows and its memo together, once in this run.

        The function itself may be called again until that commit is done. Calls outside are refused inside. `retries`
        and `timeout` as in `run`.

        Raises:
            StepError: it failed for good.
        """
        _fit(id, arguments.check_call, function, retries, MAX_RETRIES)
        most = None if timeout is None else _fit(id, above_zero, timeout)

        def with_session(*args: Any, **kwargs: Any) -> Any:
            return function(runtime().ports.session(), *args, **kwargs)

        return self._advance("transaction", id, Call(with_session, args, kwargs, retries, most))

    def send_event(self, id: str, name: str, data: dict[str, Any], *, owner_id: UUID | None = None) -> str:
        """Send an event, once in this run, and return its id. Its owner is the run's unless given.

        The event, the runs that it starts and the memo are one commit.
        A database that stumbles is tried again, whatever the workflow says of retries: nothing else can be the matter.
        """
        owner = owner_id or self._execution.run.owner_id
        return str(self._advance("send", id, Call(_send, (name, data), {"owner_id": owner}, RETRIES)))

    def sleep(self, id: str, duration: Duration) -> None:
        """Sleep for "10m", "2h", "3d", a timedelta or seconds; meanwhile the run holds no worker and no slot.

        The wake time is remembered once: no restart makes the sleep longer.
        """
        pause = timedelta(seconds=_fit(id, seconds, duration))
        self._sleep(id, lambda: self._execution.now() + pause)

    def sleep_until(self, id: str, when: datetime) -> None:
        """Sleep until `when` (with a time zone), as it is when the step is met first."""
        wake_at = _fit(id, arguments.in_utc, when)
        self._sleep(id, lambda: wake_at)

    def wait_for_event(
        self,
        id: str,
        name: str | Sequence[str],
        *,
        match: str | None = None,
        if_: str | None = None,
        timeout: Duration,
        since: datetime | None = None,
    ) -> Event | None:
        """Wait for an event of the run's owner; returns the oldest that matches, or None at the timeout.

        It may have come before: any since the run was created counts, unless the run was started by it or has taken it
        in another wait. One that comes after the timeout counts as well, until the run has been taken up: it is then
        that the run stops waiting. Meanwhile the run holds no worker and no slot.

        Args:
            id: stable kebab-case name.
            name: of the event, or several names of which any will do.
            match: a path such as `data.course_id` at which the run's own event and the arriving one must have the same.
            if_: or (and) an expression over `event`, which started the run, and `arriving`.
            timeout: how long to wait at most, for example "3d".
            since: only events for which waits were looked for later than this count. That is done right after their
                commit; of a sender that died there, by upkeep, up to two seconds later.

        Raises:
            StepError: the match or the condition cannot be evaluated.
        """
        names = _fit(id, arguments.event_names, name)
        wait = _fit(id, seconds, timeout), _fit(id, arguments.optional_in_utc, since)
        wanted = Wanted(names, match, if_, *wait)
        shown = {"event": list(names), "match": match, "if": if_, "timeout": timeout}
        value = self._await("wait", id, shown, lambda key, _: waits.outcome(self._execution, key, wanted))
        return None if value is None else Event.from_memo(value)

    def invoke(
        self,
        id: str,
        workflow: str | Callable[..., Any],
        data: dict[str, Any] | None = None,
        *,
        timeout: Duration = "365d",
        cancel_child: bool = False,
    ) -> Any:
        """Run another workflow as a child and return its result; meanwhile this run holds no worker and no slot.

        Args:
            id: stable kebab-case verb.
            workflow: its function, or its name.
            data: what it finds as `ctx.event.data`; its event is called `workflow/invoked` and has this run's owner.
            timeout: how long to wait for its end at most.
            cancel_child: cancel the child when this run ends otherwise than completed, or stops waiting.

        Raises:
            StepError: the child failed, was cancelled or skipped, or did not end in time.
        """
        name = registry.name_of(workflow)
        child = Child(name, {} if data is None else data, _fit(id, seconds, timeout), cancel_child)
        shown = {"workflow": name, "data": child.data}

        def await_child(key: str, given: Any) -> Any:
            return children.outcome(self._execution, key, replace(child, data=children.edited(given)))

        return self._await("invoke", id, shown, await_child)

    def map(self, id: str, function: Callable[[Step, Any], Any], items: Sequence[Any], *, limit: int = 8) -> list[Any]:
        """Run `function(s, item)` for every item as branches, at most `limit` at once; returns their results in order.

        Each branch has its own `s` and may hold several steps. All branches run to an end, a park or a failure.

        Raises:
            StepError: of the first branch, in the order of the items, that failed.
        """
        _fit(id, arguments.check_map, function, items, limit)
        calls = [(str(number), functools.partial(_call_with, function, item)) for number, item in enumerate(items)]
        return self._branch_out(id, calls, limit)

    def parallel(self, id: str, branches: Mapping[str, Callable[[Step], Any]], *, limit: int = 8) -> dict[str, Any]:
        """Run named branches `function(s)`, at most `limit` at once; returns their results by name. As `map`."""
        _fit(id, arguments.check_parallel, branches, limit)
        results = self._branch_out(id, list(branches.items()), limit)
        return dict(zip(branches, results, strict=True))

    def ai(
        self,
        id: str,
        *,
        messages: list[dict[str, Any]],
        model: str | None = None,
        schema: Any = None,
        retries: int | None = None,
        **options: Any,
    ) -> Any:
        """Ask a model and remember its output; what it writes meanwhile is the stream of the step's key.

        Prompt, model, tokens and cost are kept with the memo (see `StepView.usage`).

        Raises:
            StepError: it failed for good.
            EngineError: the application has given the engine no `ai` port.
        """
        prompt = {"messages": messages, "model": model, "schema": schema, **options}
        return self._advance("ai", id, Call(ai.asker(self._execution), (), prompt, retries))["output"]

    @property
    def place(self) -> tuple[float, ...]:
        """Where the body is: behind the verb that it met last, and behind everything in its branches."""
        return (*self._position, self._last, math.inf)

    def enter(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call the body, or the branch, that has this step. What makes it leave counts, whatever it does about that."""
        self._thread = threading.get_ident()
        try:
            with runtime().ports.app_context(), current.within(self):
                result = function(*args)
        except Exception as error:
            if self.interrupt in (None, error):
                raise
            logger.warning("step.clean_up_failed", run_id=str(self._execution.run.id), exc_info=error)
        finally:
            self._thread = None
        if self.interrupt is not None:
            raise self.interrupt  # it was swallowed, or something was raised in its place
        return result

    def remembered(self, kind: str, id: str, function: Callable[[], Any]) -> Any:
        """Remember a value that must be the same on every replay (the clock, a random number)."""
        return self._advance(kind, id, Call(function, (), {}, 0))

    def _advance(self, kind: str, id: str, call: Call) -> Any:
        with self._leaving():
            key = self._meet(id)
            memo = self._execution.loaded.memos.get(key)
            if memo is not None:
                return self._recall(memo, kind)
            if len(self._execution.loaded.memos) >= MAX_STEPS:
                raise LimitExceeded("steps_per_run", f"A run has at most {MAX_STEPS} steps; split the work into runs.")
            _fit(id, arguments.check_call, call.function, call.retries, MAX_RETRIES)
            return memory.make(self._execution, kind, key, self._find_place(key, kind), call)

    def _sleep(self, id: str, until: Callable[[], datetime]) -> None:
        call = Call(lambda *_edited: until().isoformat(), (), {}, RETRIES)
        wake_at = datetime.fromisoformat(self._advance("sleep", id, call))
        with self._leaving():
            if wake_at > self._execution.now():
                raise Park(wake_at)

    def _await(self, kind: str, id: str, shown: dict[str, Any], outcome: Callable[[str, Any], Any]) -> Any:
        """Remember what `outcome(key, shown)` returns or raises, once it does so instead of parking.

        A rerun may put something else in the place of what is shown.
        """
        return self._advance(kind, id, Call(lambda *given: outcome(current.key(), given), (shown,), {}, RETRIES))

    def _branch_out(self, id: str, calls: Sequence[tuple[str, Callable[[Step], Any]]], limit: int) -> list[Any]:
        with self._leaving(is_branching=True):
            key = self._meet(id)
            if (memo := self._execution.loaded.memos.get(key)) is not None:
                self._recall(memo, BRANCHES)
            position = self._find_place(key, BRANCHES)
            steps = [Step(self._execution, f"{key}[{name}]/", [*position, n]) for n, (name, _) in enumerate(calls)]
            work = [functools.partial(s.enter, call, s) for s, (_, call) in zip(steps, calls, strict=True)]
            own, self._thread = self._thread, None
            try:
                return branches.run_all(work, limit)
            finally:
                self._thread = own

    @contextlib.contextmanager
    def _leaving(self, *, is_branching: bool = False) -> Iterator[None]:
        """Note what makes the body leave; so does a database that is away, which the body could take for a failure.

        And one that refuses what the engine asks for; what a branch of the body itself has asked for is the body's.
        """
        try:
            yield
        except (Interrupt, StepKindChanged) as interrupt:
            self.interrupt = interrupt
            if isinstance(interrupt, LostLease):
                self._execution.lease.is_lost = True  # its other branches stop, too
            raise
        except DATABASE_FAILED as error:
            if is_branching and not is_away(error):
                raise
            self.interrupt = LostLease(self._execution.run.id)
            raise self.interrupt from error

    def _meet(self, id: str) -> str:
        """Return the key of the verb that the body has come to, or stop here."""
        if self.interrupt is not None:
            raise self.interrupt  # a `finally:` in the body starts no steps
        if (attempt := current.attempt()) is not None:
            raise EngineError(
                f"Step {id!r} is inside of {attempt.key!r}; steps do not nest: return from that one first."
            )
        if self._thread != threading.get_ident():
            raise EngineError(f"Step {id!r} is elsewhere: a branch uses its own `s`; threads of yours have no steps.")
        if type(id) is not str or not arguments.is_id(id):
            _fit(id, arguments.check_id, id)
        self._execution.check()
        repeat = self._met.get(id, 0)
        self._met[id] = repeat + 1
        self._verbs += 1
        key = f"{self._prefix}{id}" + (f":{repeat}" if repeat else "")
        if len(key) > MAX_KEY:  # PostgreSQL's index takes no more, and its refusal looks like a database that is away
            raise LimitExceeded("step_key", f"The key {key[:40]!r}... is over {MAX_KEY} characters; shorten its ids.")
        return key

    def _find_place(self, key: str, kind: str) -> list[int]:
        """Return the position of a verb that is not remembered itself: it is new, or it has branches.

        Remembered steps keep theirs when the code changes. So a new verb in front of them stands where the one before
        it does; of several in one place, the times tell the order.
        """
        memos, execution = self._execution.loaded.memos, self._execution
        keys = execution.once("keys", lambda: sorted(memos))
        first = bisect.bisect_left(keys, f"{key}[")
        if keys[first : first + 1] and keys[first].startswith(f"{key}["):
            if kind != BRANCHES:
                raise _changed(key, BRANCHES, kind)
            number = memos[keys[first]].position[len(self._position)]  # its branches are remembered there
        elif any(other.startswith(self._prefix) for other in tuple(execution.unmet)):
            number = self._last
        else:
            number = max(self._verbs, self._last)
        self._last = max(self._last, number)
        return [*self._position, number]

    def _recall(self, memo: Memo, kind: str) -> Any:
        self._execution.unmet.discard(memo.key)
        if memo.kind != kind:
            raise _changed(memo.key, memo.kind, kind)
        if memo.position[-1] < self._last:
            logger.warning("step.reordered", run_id=str(self._execution.run.id), step=memo.key)
        self._last = max(self._last, memo.position[-1])
        if memo.status == "failed":
            raise StepError(memo.key, memo.error or {})
        self._execution.meta.apply(memo.position, memo.meta)
        return memory.value_of(memo)


def _fit(id: str, check: Callable[..., T], *given: Any) -> T:
    try:
        return check(*given)
    except ValueError as error:
        raise EngineError(f"Step {id!r}: {error}") from error


def _changed(key: str, was: str, kind: str) -> StepKindChanged:
    return StepKindChanged(f"Step {key!r} was remembered as {was!r} and is {kind!r} now: give it a new id.")


def _send(name: str, data: dict[str, Any], *, owner_id: UUID | None) -> str:
    codec.dump_event(data, name)
    return str(sending.send(name, data, owner_id=owner_id))


def _call_with(function: Callable[[Step, Any], Any], item: Any, step: Step) -> Any:
    return function(step, item)
