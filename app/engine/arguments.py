"""What the verbs of `step` may be called with: everything else is refused where it stands, with a sentence."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from typing import Any

from app.engine.checks import MAX_RETRIES
from app.engine.errors import EngineError
from app.engine.memory import Call
from app.lib.durations import Duration, seconds

# Not what keys are made with, nor what PostgreSQL cannot hold. The same few ids are met over and over.
_is_id = functools.lru_cache(maxsize=4096)(re.compile(r"[^\[\]:/\0\ud800-\udfff]+").fullmatch)
_EVENT = re.compile(r"[a-z0-9][a-z0-9_.-]*(/[a-z0-9_.-]+)+")  # any that there can be


def check_id(id: object) -> None:
    """Refuse an id, or the name of a branch, under which two steps could have one key, or none be remembered."""
    if not isinstance(id, str) or not _is_id(id):
        raise EngineError(f"{id!r} is no id of a step or branch: write a text like load-page, without any of : / [ ].")


def checked(id: str, call: Call, timeout: Duration | None = None) -> Call:
    """Return the call of a step with its timeout, as far as it can be made."""
    function: Any = call.function
    retries = call.retries
    if not callable(function):
        told = "give it the function itself, and then its arguments: the step calls it"
        raise _refusal(id, f"{told}. This is a {type(function).__name__}")
    if retries is not None and (type(retries) is not int or not 0 <= retries <= MAX_RETRIES):
        raise _refusal(id, f"retries must be a whole number from 0 to {MAX_RETRIES}, not {retries!r}")
    return call if timeout is None else call._replace(timeout=seconds_of(id, timeout))


def check_map(id: str, function: object, items: object) -> None:
    """Refuse what `step.map` cannot go over in an order that is the same on each pass."""
    is_list = isinstance(items, Iterable) and not isinstance(items, str | bytes | Mapping | set | frozenset)
    if not (is_list and callable(function)):
        raise _refusal(id, "write step.map(id, function, items), with a function(s, item) and a list of items")


def check_parallel(id: str, named: object) -> None:
    """Refuse what are no named branches."""
    if not isinstance(named, Mapping) or not all(map(callable, named.values())):
        raise _refusal(id, "write step.parallel(id, {name: function}), with a function(s) for each name")
    for name in named:
        check_id(name)


def check_limit(id: str, limit: object) -> None:
    """Refuse a number of branches at once under which none would run."""
    if type(limit) is not int or limit < 1:
        raise _refusal(id, f"limit must be a whole number of at least 1, not {limit!r}")


def event_names(id: str, name: Any) -> tuple[str, ...]:
    """Return the names of the events that a step waits for."""
    names = (name,) if isinstance(name, str) else tuple(name) if isinstance(name, Iterable) else ()
    if not names or not all(isinstance(each, str) and _EVENT.fullmatch(each) for each in names):
        told = "wait_for_event needs the full name of an event, like video/uploaded, or a list of such names"
        raise _refusal(id, f"{told}, not {name!r}")
    return names


def in_utc(id: str, when: Any) -> datetime:
    """Return a time, as long as every zone has a date for it."""
    if not isinstance(when, datetime) or when.utcoffset() is None or not MINYEAR < when.year < MAXYEAR:
        told = "write a datetime with a time zone, such as ctx.now() + timedelta(days=1)"
        raise _refusal(id, f"{told}, not {when!r}")
    return when.astimezone(UTC)


def seconds_of(id: str, duration: Duration) -> float:
    """Return a duration in seconds."""
    try:
        return seconds(duration)
    except ValueError as error:
        raise EngineError(f"Step {id!r}: {error}") from error


def _refusal(id: str, told: str) -> EngineError:
    return EngineError(f"Step {id!r}: {told}.")
