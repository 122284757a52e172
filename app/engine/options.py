"""What a workflow may ask for: which events start it, how often, and what ends it before its time.

A `key` is an expression over `event`, mostly a path such as `event.data.course_id`: each of its values has a limit of
its own. Durations are "90s", "10m", "2h", "3d", "1w", a timedelta or a number of seconds.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from app.lib import expressions
from app.lib.cron import next_tick
from app.lib.durations import LONGEST, Duration, seconds
from app.lib.fitting import Fit, called_with, whole

MAX_LIMITS = 2
MAX_RETRIES = 20
MIN_MEMORY = 64 << 20  # bytes of an isolated run: its threads alone take a part of it
HOLE = re.compile(r"\{([^{}]*)\}")  # in a subject
# What nothing sends: names that `send` refuses, but for those of the endings.
_PLACE = r"(?!(?:engine|schedule|workflow)/|run/(?!(?:completed|failed|cancelled|dead)$))[a-z0-9][a-z0-9_.-]*/"
_PLACE += r"(?:[a-z0-9_.-]+/)*"
_EVENT = re.compile(_PLACE + r"[a-z0-9_.-]+")
_EVENTS = re.compile(rf"\*|{_PLACE}(?:[a-z0-9_.-]+|\*)")
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_OWN = "of the engine's own there are run/completed, run/failed, run/cancelled and run/dead"


def _over(*names: str, within: re.Pattern[str] | None = None) -> Fit:
    """Return the fit of an expression over these names, or of a text with some in it; each says what is wrong."""

    def test(text: str) -> bool:
        for part in within.findall(text) if within else (text,):
            expressions.check(part, names)
        return True

    return Fit(f"a text with an expression over {' and '.join(names)}", test)


Name = Annotated[str, Fit("lower case words joined by hyphens", _NAME.fullmatch)]
Event = Annotated[str, Fit(f"the name of one event, like 'video/deleted' ({_OWN})", _EVENT.fullmatch)]
Events = Annotated[str, Fit(f"like 'video/uploaded', 'video/*' or '*' ({_OWN})", _EVENTS.fullmatch)]
Expression = Annotated[str, _over("event")]
Subject = Annotated[str, _over("event", within=HOLE)]
Cron = Annotated[
    str,
    Fit("five fields that are due some time (31 February never is)", lambda text: next_tick(text, datetime.now(UTC))),
]
Match = Annotated[str, Fit("a path like data.course_id", lambda path: expressions.matching(path, {}))]
Period = Annotated[
    Duration, Fit("a duration like '90s', '10m' or '2h', and longer than nothing", lambda period: seconds(period) > 0)
]
Jitter = Annotated[float, Fit("seconds, from 0 to ten years", lambda pause: 0 <= pause <= LONGEST)]
Pause = Annotated[float, Fit("seconds, above 0 and at most ten years", lambda pause: 0 < pause <= LONGEST)]
Backoff = Annotated[Sequence[Pause], Fit("a list of seconds, each above 0 and at most ten years", len)]
Retries = Annotated[int, whole(0, MAX_RETRIES)]
Limit = Annotated[int, whole(1)]
Version = Annotated[int, whole(0)]
Body = Annotated[Callable[..., Any], called_with("ctx", "step")]
Hook = Annotated[Callable[..., Any], called_with("ctx", "outcome")]


@dataclass(frozen=True)
class On:
    """An event that starts a run: a name, `video/*` or `*` (never `run/`), where `if_` holds over `event`.

    A condition that cannot be evaluated does not hold; the log says so.
    """

    event: Events
    if_: Expression | None = None

    def matches(self, name: str) -> bool:
        """Tell whether this is the event's name; whether the condition holds is another matter."""
        if self.event.endswith("*"):
            return name.startswith(self.event[:-1]) and not name.startswith("run/")
        return self.event == name


@dataclass(frozen=True)
class Concurrency:
    """At most `limit` runs execute at once, per value of `key` if given."""

    limit: Limit
    key: Expression | None = None


@dataclass(frozen=True)
class Throttle:
    """At most `limit` runs start in each `period`, evenly spaced; what is over it starts later, in order.

    After a pause, `burst` runs may start at once; so never more than `limit + burst` start within one period. What
    counts is when a run may start: a full concurrency limit or busy workers may still keep it, and let some go together
    later. A run that is cancelled while it waits keeps its place.
    """

    limit: Limit
    period: Period
    key: Expression | None = None
    burst: Limit = 1


@dataclass(frozen=True)
class RateLimit:
    """At most `limit` runs start at once, and `limit` in each `period` on average; what is over it is skipped.

    The allowance grows back evenly (GCRA): within one period never more than twice the limit.
    """

    limit: Limit
    period: Period
    key: Expression | None = None


@dataclass(frozen=True)
class Debounce:
    """Wait until no event has come for `period`, then run the last one; after `timeout` at the latest.

    The last event is the one with the latest time of its own. Keys hold for one owner.
    """

    period: Period
    key: Expression | None = None
    timeout: Period | None = None


@dataclass(frozen=True)
class Singleton:
    """Only one run at a time, per owner and value of `key`: a later one is skipped, or cancels the earlier one.

    An earlier run that is executing stops at its next step: until then (about a second) both are there.
    """

    key: Expression | None = None
    mode: Literal["skip", "cancel"] = "skip"


@dataclass(frozen=True)
class CancelOn:
    """Cancel the run when an event of this name and the same owner comes.

    `match="data.course_id"`: only if both events have the same there (a run whose own event has nothing there is never
    cancelled by it). `if_`: only if this holds, over `event`, which started the run, and `arriving`.
    """

    event: Event
    match: Match | None = None
    if_: Annotated[str, _over("event", "arriving")] | None = None


@dataclass(frozen=True)
class Timeouts:
    """A run is cancelled that has not started `start` after it was made, or not ended `finish` after it started."""

    start: Period | None = None
    finish: Period | None = None


@dataclass(frozen=True)
class Isolated:
    """A run's own process, and what it may use for each claim of the run (where the system can limit it)."""

    memory_bytes: Annotated[int, whole(MIN_MEMORY, 1 << 50)] | None = (
        None  # private memory, beyond what the application has loaded
    )
    cpu_seconds: Limit | None = None  # over all its threads


Trigger = Annotated[str | On | Sequence[str | On], Fit("the name of an event, On(...), or a list of these")]
Concurrencies = Annotated[
    Sequence[Concurrency],
    Fit(f"a list of at most {MAX_LIMITS} Concurrency(...)", lambda limits: len(limits) <= MAX_LIMITS),
]


def spacing(limit: Throttle | RateLimit) -> tuple[float, float]:
    """Return the seconds between two starts, and by how many seconds a burst may be early (the terms of GCRA)."""
    gap = seconds(limit.period) / limit.limit
    burst = limit.burst if isinstance(limit, Throttle) else limit.limit
    return gap, gap * (burst - 1)
