"""What a workflow may ask for: which events start it, how often, and what ends it before its time.

A `key` is an expression over `event`, mostly a path such as `event.data.course_id`: each of its values has a limit of
its own. Durations are "90s", "10m", "2h", "3d", "1w", a timedelta or a number of seconds.
"""

from dataclasses import dataclass
from typing import Literal

from app.lib.durations import Duration, seconds


@dataclass(frozen=True)
class On:
    """An event that starts a run: a name, `video/*` or `*` (never `run/`), where `if_` holds over `event`.

    A condition that cannot be evaluated does not hold; the log says so.
    """

    event: str
    if_: str | None = None

    def matches(self, name: str) -> bool:
        """Tell whether this is the event's name; whether the condition holds is another matter."""
        if self.event.endswith("*"):
            return name.startswith(self.event[:-1]) and not name.startswith("run/")
        return self.event == name


@dataclass(frozen=True)
class Concurrency:
    """At most `limit` runs execute at once, per value of `key` if given."""

    limit: int
    key: str | None = None


@dataclass(frozen=True)
class Throttle:
    """At most `limit` runs start in each `period`, evenly spaced; what is over it starts later, in order.

    After a pause, `burst` runs may start at once; so never more than `limit + burst` start within one period. What
    counts is when a run may start: a full concurrency limit or busy workers may still keep it, and let some go together
    later. A run that is cancelled while it waits keeps its place.
    """

    limit: int
    period: Duration
    key: str | None = None
    burst: int = 1


@dataclass(frozen=True)
class RateLimit:
    """At most `limit` runs start at once, and `limit` in each `period` on average; what is over it is skipped.

    The allowance grows back evenly (GCRA): within one period never more than twice the limit.
    """

    limit: int
    period: Duration
    key: str | None = None


@dataclass(frozen=True)
class Debounce:
    """Wait until no event has come for `period`, then run the last one; after `timeout` at the latest.

    The last event is the one with the latest time of its own. Keys hold for one owner.
    """

    period: Duration
    key: str | None = None
    timeout: Duration | None = None


@dataclass(frozen=True)
class Singleton:
    """Only one run at a time, per owner and value of `key`: a later one is skipped, or cancels the earlier one.

    An earlier run that is executing stops at its next step: until then (about a second) both are there.
    """

    key: str | None = None
    mode: Literal["skip", "cancel"] = "skip"


@dataclass(frozen=True)
class CancelOn:
    """Cancel the run when an event of this name and the same owner comes.

    `match="data.course_id"`: only if both events have the same there (a run whose own event has nothing there is never
    cancelled by it). `if_`: only if this holds, over `event`, which started the run, and `arriving`.
    """

    event: str
    match: str | None = None
    if_: str | None = None


@dataclass(frozen=True)
class Timeouts:
    """A run is cancelled that has not started `start` after it was made, or not ended `finish` after it started."""

    start: Duration | None = None
    finish: Duration | None = None


@dataclass(frozen=True)
class Isolated:
    """A run's own process, and what it may use for each claim of the run (where the system can limit it)."""

    memory_bytes: int | None = None  # private memory, beyond what the application has loaded
    cpu_seconds: int | None = None  # over all its threads


def spacing(limit: Throttle | RateLimit) -> tuple[float, float]:
    """Return the seconds between two starts, and by how many seconds a burst may be early (the terms of GCRA)."""
    gap = seconds(limit.period) / limit.limit
    burst = limit.burst if isinstance(limit, Throttle) else limit.limit
    return gap, gap * (burst - 1)
