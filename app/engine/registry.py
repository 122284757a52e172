"""Which workflows there are, which events start them, and under which limits."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.engine.errors import RegistrationError

DAY = 86_400
BACKOFF = (15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 2400.0, 3600.0, 7200.0)  # seconds (specs: semantics)
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_EVENT = re.compile(r"[a-z0-9][a-z0-9_.-]*(/[a-z0-9_.-]+)*(/\*)?")
_PATH = re.compile(r"event(\.[A-Za-z_][A-Za-z0-9_]*)+")
_HOLE = re.compile(r"\{([^{}]*)\}")
MAX_LIMITS = 2
MAX_RETRIES = 20
RETRIES = 4  # of a step, unless it or its workflow says otherwise; at least those of the engine's own steps
MAX_KEY = 200
MIN_MEMORY = 64 << 20  # bytes of an isolated run: its threads alone take a part of it


@dataclass(frozen=True)
class Concurrency:
    """At most `limit` runs execute at once, per value of `key` (a path such as `event.owner_id`) if given."""

    limit: int
    key: str | None = None


@dataclass(frozen=True)
class Isolated:
    """A run's own process, and what it may use for each claim of the run (where the system can limit it)."""

    memory_bytes: int | None = None  # private memory, beyond what the application has loaded
    cpu_seconds: int | None = None  # over all its threads


@dataclass(frozen=True)
class Workflow:
    """A registered workflow and its options."""

    name: str
    function: Callable[..., Any]
    on: tuple[str, ...] = ()
    retries: int = RETRIES
    backoff: tuple[float, ...] = BACKOFF
    concurrency: tuple[Concurrency, ...] = ()
    idempotency: str | None = None
    subject: str | None = None
    version: int = 1
    hook: str | None = None  # the name of the workflow that runs when this one ends badly
    is_hook: bool = False
    isolated: Isolated | None = None  # its runs have a process of their own

    def flow_keys(self, context: dict[str, Any]) -> list[str]:
        """Return this run's flow key under each limit, in the order of the limits."""
        return [
            flow_key(self.name, number, None if limit.key is None else look_up(limit.key, context))
            for number, limit in enumerate(self.concurrency)
        ]

    def idempotency_key(self, context: dict[str, Any]) -> str | None:
        """Return what identifies this run for 24 hours, or None when the event does not say."""
        value = look_up(self.idempotency, context) if self.idempotency else None
        return None if value is None else compact(value)

    def subject_of(self, context: dict[str, Any]) -> str | None:
        """Return what this run is about, for example `video:<id>`."""
        if self.subject is None:
            return None
        return compact(_HOLE.sub(lambda hole: str(look_up(hole.group(1), context)), self.subject))


@dataclass
class Registry:
    """All workflows of this process."""

    by_name: dict[str, Workflow] = field(default_factory=dict)

    def add(self, workflow: Workflow) -> None:
        """Add `workflow`.

        Raises:
            RegistrationError: the name is taken or an option is illegal.
        """
        _check(workflow)
        known = self.by_name.get(workflow.name)
        if known is not None and known.function.__qualname__ != workflow.function.__qualname__:
            raise RegistrationError(f"Two workflows are called {workflow.name!r}; give one another name.")
        self.by_name[workflow.name] = workflow

    def names(self, *, isolated: bool | None = None) -> list[str]:
        """Return the names of all workflows, hooks included; or only of those that are isolated, or are not."""
        return [name for name, found in self.by_name.items() if isolated in (None, found.isolated is not None)]

    def listeners(self, event_name: str) -> Iterator[Workflow]:
        """Yield the workflows that `event_name` starts."""
        for workflow in self.by_name.values():
            if any(_matches(pattern, event_name) for pattern in workflow.on):
                yield workflow

    def knows(self, key: str) -> bool:
        """Tell whether this process has the workflow of a flow key."""
        return key.partition("#")[0] in self.by_name

    def limit_of(self, key: str) -> int | None:
        """Return the limit behind a flow key, or None when the code no longer has one."""
        name, _, rest = key.partition("#")
        number = int(rest.partition(":")[0])
        workflow = self.by_name.get(name)
        if workflow is None or number >= len(workflow.concurrency):
            return None
        return workflow.concurrency[number].limit


registry = Registry()


def workflow(
    name: str,
    *,
    on: str | Sequence[str],
    retries: int = RETRIES,
    backoff: Sequence[float] = BACKOFF,
    concurrency: Sequence[Concurrency] = (),
    idempotency: str | None = None,
    subject: str | None = None,
    on_failure: Callable[..., Any] | None = None,
    version: int = 1,
    isolated: Isolated | bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function `(ctx, step)` as a durable workflow; it is returned unchanged.

    Args:
        name: stable kebab-case name; runs remember it.
        on: the event or events that start a run; `video/*` matches every name below `video/`, never `run/`.
        retries: how often a failing step is tried again (0 to 20); a step may say otherwise.
        backoff: seconds between tries, plus or minus a fifth; the last one repeats.
        concurrency: at most two limits on runs executing at once.
        idempotency: path into the event, for example `event.data.request_id`; a second run of the same owner with
            the same value within 24 hours is not started, unless the first one failed.
        subject: what the run is about, for example `video:{event.data.video_id}`.
        on_failure: `(ctx, outcome)`, run in one transaction, exactly once, when a run failed, died or was
            cancelled; it shows as the run `<name>-failed` and is tried again at least four times.
        version: recorded by each run.
        isolated: its runs have a process of their own, which a step's timeout, a cancellation and these limits end for
            certain. It costs some 20 ms a claim; `ctx` and `step` are the same.

    Raises:
        RegistrationError: an option is illegal or the name is taken.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        hook = f"{name}-failed" if on_failure else None
        registry.add(
            Workflow(
                name=name,
                function=function,
                on=(on,) if isinstance(on, str) else tuple(on),
                retries=retries,
                backoff=tuple(backoff),
                concurrency=tuple(concurrency),
                idempotency=idempotency,
                subject=subject,
                version=version,
                hook=hook,
                isolated=Isolated() if isolated is True else isolated or None,
            )
        )
        if hook and on_failure:
            tries = max(retries, RETRIES)  # a hook that gives up leaves rows as they must not stay
            registry.add(Workflow(name=hook, function=on_failure, retries=tries, backoff=tuple(backoff), is_hook=True))
        return function

    return register


def look_up(path: str, context: dict[str, Any]) -> Any:
    """Return the value at a dotted path such as `event.data.id`, or None when there is none."""
    value: Any = context
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def compact(value: Any) -> str:
    """Return `value` as a short text that PostgreSQL can hold: long or unprintable ones become their hash."""
    text = str(value)
    if len(text) <= MAX_KEY and text.isprintable():
        return text
    return digest(text)


def digest(text: str) -> str:
    """Return the SHA-256 of any text, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def flow_key(name: str, number: int, value: Any) -> str:
    """Return the flow key of limit `number` of a workflow for one value of the limit's key."""
    return f"{name}#{number}:{'' if value is None else compact(value)}"


def _matches(pattern: str, name: str) -> bool:
    if pattern.endswith("/*"):
        return name.startswith(pattern[:-1]) and not name.startswith("run/")
    return pattern == name


def _check(workflow: Workflow) -> None:
    def demand(holds: object, sentence: str) -> None:
        if not holds:
            raise RegistrationError(f"Workflow {workflow.name!r}: {sentence}")

    demand(bool(_NAME.fullmatch(workflow.name)), "the name must be lower case words joined by hyphens.")
    demand(0 <= workflow.retries <= MAX_RETRIES, f"retries must be between 0 and {MAX_RETRIES}.")
    demand(bool(workflow.backoff) and all(pause > 0 for pause in workflow.backoff), "backoff must be positive seconds.")
    demand(len(workflow.concurrency) <= MAX_LIMITS, "at most two concurrency limits are allowed.")
    limits = workflow.isolated or Isolated()
    demand((limits.memory_bytes or MIN_MEMORY) >= MIN_MEMORY, f"an isolated run needs {MIN_MEMORY} bytes of memory.")
    demand(limits.cpu_seconds is None or limits.cpu_seconds >= 1, "cpu_seconds must be at least 1.")
    demand(all(limit.limit >= 1 for limit in workflow.concurrency), "a concurrency limit must be at least 1.")
    for pattern in workflow.on:
        demand(bool(_EVENT.fullmatch(pattern)), f"{pattern!r} is no event name.")
    paths = [workflow.idempotency, *(limit.key for limit in workflow.concurrency)]
    paths += _HOLE.findall(workflow.subject or "")
    for path in paths:
        demand(path is None or bool(_PATH.fullmatch(path)), f"{path!r} is no path into the event.")
