"""Which workflows there are, which events start them, and under which limits."""

import difflib
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, TypeVar

from app.engine import options
from app.engine.checks import check
from app.engine.errors import EngineError, RegistrationError
from app.engine.options import CancelOn, Concurrency, Debounce, Isolated, On, RateLimit, Singleton, Throttle, Timeouts
from app.engine.runtime import logger
from app.lib import expressions
from app.lib.keys import compact

BACKOFF = (15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 2400.0, 3600.0, 7200.0)  # seconds (specs: semantics)
RETRIES = 4  # of a step, unless it or its workflow says otherwise; at least those of the engine's own steps
MAX_AHEAD = 600.0  # seconds, of a priority
NO_TIMEOUTS = Timeouts()
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Workflow:
    """A durable workflow: what its function `(ctx, step)` is decorated with, which is returned unchanged.

    Without `on` and `cron` it is only invoked, by other workflows. See `app.engine.options` for what the limits mean.

    Args:
        name: stable kebab-case name; runs remember it.
        on: the event or events that start a run; `video/*` matches every name below `video/`, `*` all, never `run/`.
        cron: when to start a run by itself: five fields, in UTC or in the zone that stands before them, as in
            `TZ=Europe/Berlin 0 9 * * *`.
        jitter: seconds by which each of those starts is put off at most; less than lies between two of them.
        retries: how often a failing step is tried again (0 to 20); a step may say otherwise.
        backoff: seconds between tries, plus or minus a fifth; the last one repeats.
        concurrency: at most two limits on runs executing at once.
        throttle: starts are spaced: what is over the limit starts later.
        rate_limit: what is over the limit is skipped.
        debounce: the last of many events starts one run.
        singleton: one run at a time.
        priority: seconds (at most 600) by which a run goes before those that are as old, or an expression for it.
        idempotency: expression, for example `event.data.request_id`; a second run of the same owner with
            the same value within 24 hours is not started, unless the first one failed.
        cancel_on: events that cancel the run.
        timeouts: how long it may take to start, and to end.
        on_failure: `(ctx, outcome)`, run in one transaction, exactly once, when a run failed, died or was
            cancelled; it shows as the run `<name>-failed` and is tried again at least four times.
        subject: what the run is about, for example `video:{event.data.video_id}`.
        version: recorded by each run.
        isolated: its runs have a process of their own, which a step's timeout, a cancellation and these limits end for
            certain. It costs some 20 ms a claim; `ctx` and `step` are the same.
    """

    name: options.Name = ""
    _: KW_ONLY
    on: options.Trigger = ()
    cron: options.Cron | None = None
    jitter: options.Jitter = 0.0
    retries: options.Retries = RETRIES
    backoff: options.Backoff = BACKOFF
    concurrency: options.Concurrencies = ()
    throttle: Throttle | None = None
    rate_limit: RateLimit | None = None
    debounce: Debounce | None = None
    singleton: Singleton | None = None
    priority: float | options.Expression = 0
    idempotency: options.Expression | None = None
    cancel_on: Sequence[CancelOn] = ()
    timeouts: Timeouts = NO_TIMEOUTS
    on_failure: options.Hook | None = None
    subject: options.Subject | None = None
    version: options.Version = 1
    isolated: Isolated | bool = False
    function: options.Body = field(default=NotImplemented, repr=False)  # that it decorates
    is_hook: bool = False  # the function is another workflow's on_failure

    def __post_init__(self) -> None:
        """Refuse `@workflow` and `@workflow()`: the first would make a workflow of the function's name."""
        if callable(self.name) or not self.name:
            above = f" above {self.name!r}" if self.name else ""
            raise RegistrationError(f'Write @workflow("name", ...){above}: its name comes first.')

    def __call__(self, function: Function) -> Function:
        """Register `function` as this workflow.

        Raises:
            RegistrationError: an option is illegal, alone or with another, or the name is taken.
        """
        registry.add(replace(self, function=function))
        return function

    @functools.cached_property
    def triggers(self) -> tuple[On, ...]:
        """The events that start it."""
        events = (self.on,) if isinstance(self.on, str | On) else self.on
        return tuple(On(event) if isinstance(event, str) else event for event in events)

    @property
    def hook(self) -> str | None:
        """The name of the workflow that runs when this one ends badly."""
        return f"{self.name}-failed" if self.on_failure else None

    @property
    def process(self) -> Isolated | None:
        """What each of its runs has a process of its own with, or None: it has none."""
        return Isolated() if self.isolated is True else self.isolated or None

    def is_started_by(self, name: str, context: Mapping[str, Any]) -> bool:
        """Tell whether an event of this name starts a run; a condition that cannot be evaluated does not hold."""
        return any(
            on.matches(name) and (on.if_ is None or bool(self.value_of(on.if_, context))) for on in self.triggers
        )

    def flow_keys(self, context: Mapping[str, Any]) -> list[str]:
        """Return this run's flow key under each concurrency limit, in the order of the limits."""
        return [self.flow_key(number, limit.key, context) for number, limit in enumerate(self.concurrency)]

    def flow_key(self, kind: int | str, key: str | None, context: Mapping[str, Any], scope: str = "") -> str:
        """Return the flow key of one limit (a concurrency limit by its number) for the value of its `key`."""
        value = None if key is None else self.value_of(key, context)
        return f"{self.name}#{kind}:{scope}{'' if value is None else compact(value)}"

    def value_of(self, text: str, context: Mapping[str, Any]) -> Any:
        """Return the value of one of its expressions; what cannot be evaluated is None, and the log says so."""
        try:
            return expressions.evaluate(text, context)
        except expressions.ExpressionError as error:
            event = context["event"]
            logger.warning("expression.failed", workflow=self.name, event_id=event["id"], error=str(error))
            return None

    def idempotency_key(self, context: Mapping[str, Any]) -> str | None:
        """Return what identifies this run for 24 hours, or None when the event does not say."""
        value = self.value_of(self.idempotency, context) if self.idempotency else None
        return None if value is None else compact(value)

    def seconds_ahead(self, context: Mapping[str, Any]) -> float:
        """Return its priority: by how many seconds (at most 600) a run goes before, or after, those made with it."""
        given = self.value_of(self.priority, context) if isinstance(self.priority, str) else self.priority
        if type(given) not in (int, float) or math.isnan(given):
            logger.warning("priority.invalid", workflow=self.name, event_id=context["event"]["id"])
            return 0.0
        return float(min(max(given, -MAX_AHEAD), MAX_AHEAD))

    def subject_of(self, context: Mapping[str, Any]) -> str | None:
        """Return what this run is about, for example `video:<id>`."""
        if self.subject is None:
            return None
        return compact(options.HOLE.sub(lambda hole: str(self.value_of(hole.group(1), context)), self.subject))


@dataclass
class Registry:
    """All workflows of this process."""

    by_name: dict[str, Workflow] = field(default_factory=dict)

    def add(self, workflow: Workflow) -> None:
        """Add `workflow` and its hook, or none of the two.

        Raises:
            RegistrationError: a name is taken or an option is illegal.
        """
        self._refuse(workflow)
        if workflow.hook and workflow.on_failure:
            tries = max(workflow.retries, RETRIES)  # a hook that gives up leaves rows as they must not stay
            function, backoff = workflow.on_failure, workflow.backoff
            hook = Workflow(workflow.hook, function=function, retries=tries, backoff=backoff, is_hook=True)
            self._refuse(hook)
            self.by_name[hook.name] = hook
        self.by_name[workflow.name] = workflow

    def _refuse(self, workflow: Workflow) -> None:
        """Refuse a workflow whose options are illegal, or whose name is another's."""
        check(workflow)
        known = self.by_name.get(workflow.name)
        if known is not None and _place(known.function) != _place(workflow.function):
            both = f"{_place(known.function)} and {_place(workflow.function)}"
            raise RegistrationError(f"Two workflows are called {workflow.name!r}, {both}; give one another name.")

    def name_of(self, workflow: str | Callable[..., Any]) -> str:
        """Return the name of a workflow given by its name or its function.

        Raises:
            EngineError: this process has none like that.
        """
        for known in self.by_name.values():
            if not known.is_hook and workflow in (known.name, known.function):
                return known.name
        name = workflow if isinstance(workflow, str) else getattr(workflow, "__qualname__", repr(workflow))
        near = difflib.get_close_matches(name, self.by_name)
        told = f"; {' and '.join(near)} would be known" if near else ""
        raise EngineError(
            f"There is no workflow {name!r} in this process{told}. Import its module in jobs/__init__.py."
        )

    def names(self, *, isolated: bool | None = None) -> list[str]:
        """Return the names of all workflows, hooks included; or only of those that are isolated, or are not."""
        return [name for name, found in self.by_name.items() if isolated in (None, found.process is not None)]

    def listeners(self, name: str, context: Mapping[str, Any]) -> list[Workflow]:
        """Return the workflows that an event of this name starts; `context` is what their conditions look into."""
        return [workflow for workflow in self.by_name.values() if workflow.is_started_by(name, context)]

    def limit_behind(self, key: str) -> Concurrency | None:
        """Return the limit of a flow key, or None when the code no longer has one."""
        name, _, rest = key.partition("#")
        limits = self.by_name[name].concurrency if name in self.by_name else ()
        number = int(rest.partition(":")[0])
        return limits[number] if number < len(limits) else None

    def limit_of(self, key: str) -> int | None:
        """Return how many runs that limit allows."""
        limit = self.limit_behind(key)
        return None if limit is None else limit.limit


def _place(function: Callable[..., Any]) -> str:
    """Return where a function stands: a module that is read again has it once more (a partial has no such place)."""
    return f"{function.__module__}.{getattr(function, '__qualname__', function)}"


registry = Registry()
workflow = Workflow
