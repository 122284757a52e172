"""When a cron expression is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from app.lib.keys import digest

_ALLOWED = {
    "minute": "0-59",
    "hour": "0-23",
    "day-of-month": "1-31, or L for the last",
    "month": "1-12 or JAN-DEC",
    "day-of-week": "0-7 or SUN-SAT",
}


def next_tick(expression: str, after: datetime) -> datetime | None:
    """Return the first time after `after` at which `expression` is due, in UTC; None when that never comes.

    Five fields, such as `*/15 9-17 * * MON-FRI`, in UTC or in the time zone of a prefix: `TZ=Europe/Berlin 0 9 * * *`.
    Around a change of the clocks, as Debian's cron: a fixed time that is left out is due right after the gap, one that
    comes twice is due once.

    Raises:
        ValueError: it is no such expression; the message says what it should be.
    """
    zone_name, _, fields = (
        expression.removeprefix("TZ=").partition(" ") if expression[:3] == "TZ=" else ("UTC", "", expression)
    )
    try:
        zone = ZoneInfo(zone_name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{zone_name!r} is no time zone; write it like TZ=Europe/Berlin.") from error
    if len(fields.split()) != len(_ALLOWED):
        raise ValueError(f"{fields!r} must have five fields: minute, hour, day, month, day of the week.")
    try:
        ticks = (tick.astimezone(UTC) for tick in CronSim(fields, after.astimezone(zone)))
        # In the hour that comes twice, cronsim begins with a fixed time of the first one, which is over.
        return next((tick for tick in ticks if tick > after), None)
    except CronSimError as error:
        raise ValueError(f"{fields!r} is no cron expression: {_advice(str(error), fields)}") from error


def _advice(error: str, fields: str) -> str:
    """Return what stands in the field that cronsim calls bad ("Bad minute"), and what may."""
    for (name, allowed), field in zip(_ALLOWED.items(), fields.split(), strict=True):
        if error.endswith(name):
            return f"{field!r} is no {name}; write {allowed}, also as *, a list 1,15, a range 2-5 or a step */2."
    return f"{error}."


def next_tick_put_off(expression: str, jitter: float, name: str, after: datetime) -> datetime:
    """Return the next tick, put off by up to `jitter` seconds: by the same in all processes, by another for each name.

    Raises:
        ValueError: as `next_tick`.
    """
    found = next_tick(expression, after)
    if found is None:  # it was a last one, such as 29 February 2096
        return datetime.max.replace(tzinfo=after.tzinfo)
    share = int(digest(f"{name}@{found.isoformat()}")[:8], 16) / 16**8
    return found + timedelta(seconds=share * jitter)
