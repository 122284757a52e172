"""What may be handed to whoever remembers and repeats work. Anything else is a ValueError that says what to do."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from typing import Any

# Tells whether a text is an id: not what paths of ids are made with, nor what PostgreSQL cannot hold. The same few are
# met over and over.
is_id = functools.lru_cache(maxsize=4096)(re.compile(r"[^\[\]:/\0\ud800-\udfff]+").fullmatch)
EVENT_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*(/[a-z0-9_.-]+)+")


def check_id(given: object) -> None:
    """Refuse an id, or a part of a path, that could make two paths alike, or one that cannot be written down."""
    if not isinstance(given, str) or not is_id(given):
        raise ValueError(f"{given!r} is no id: write a text like load-page, without any of : / [ ].")


def check_call(function: Any, retries: Any, most: int) -> None:
    """Refuse what cannot be called, or not so often."""
    if not callable(function):
        told = "give it the function itself, and then its arguments: the step calls it"
        raise ValueError(f"{told}. This is a {type(function).__name__}.")  # noqa: TRY004  (what is caught is one kind)
    if retries is not None and (type(retries) is not int or not 0 <= retries <= most):
        raise ValueError(f"retries must be a whole number from 0 to {most}, not {retries!r}.")


def check_map(function: object, items: object, limit: object) -> None:
    """Refuse what cannot be done for each item, at most `limit` at once, in an order that is always the same."""
    is_list = isinstance(items, Iterable) and not isinstance(items, str | bytes | Mapping | set | frozenset)
    if not (is_list and callable(function)):
        raise ValueError("write step.map(id, function, items), with a function(s, item) and a list of items.")
    _check_limit(limit)


def check_parallel(named: object, limit: object) -> None:
    """Refuse what are no functions by name, of which at most `limit` are done at once."""
    if not isinstance(named, Mapping) or not all(map(callable, named.values())):
        raise ValueError("write step.parallel(id, {name: function}), with a function(s) for each name.")
    for name in named:
        check_id(name)
    _check_limit(limit)


def _check_limit(limit: object) -> None:
    if type(limit) is not int or limit < 1:
        raise ValueError(f"limit must be a whole number of at least 1, not {limit!r}.")


def event_names(name: Any) -> tuple[str, ...]:
    """Return the names of events, of which one or several are given."""
    names = (name,) if isinstance(name, str) else tuple(name) if isinstance(name, Iterable) else ()
    if not names or not all(isinstance(each, str) and EVENT_NAME.fullmatch(each) for each in names):
        raise ValueError(f"give the full name of an event, like video/uploaded, or a list of such names, not {name!r}.")
    return names


def optional_in_utc(when: Any) -> datetime | None:
    """Return a time as `in_utc`, and None for none."""
    return None if when is None else in_utc(when)


def in_utc(when: Any) -> datetime:
    """Return a time in UTC, as long as every zone has a date for it."""
    if not isinstance(when, datetime) or when.utcoffset() is None or not MINYEAR < when.year < MAXYEAR:
        raise ValueError(f"write a datetime with a time zone, such as ctx.now() + timedelta(days=1), not {when!r}.")
    return when.astimezone(UTC)
