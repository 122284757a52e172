"""Durations as people write them: "90s", "10m", "2h", "3d", "1w", a timedelta, or a number of seconds."""

from __future__ import annotations

import re
from datetime import timedelta

Duration = str | float | timedelta
LONGEST = 10 * 365 * 86_400.0  # seconds: what is longer is a slip of the pen, and overflows dates
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_TEXT = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?([smhdw])")


def optional(value: Duration | None) -> float | None:
    """Return a duration in seconds, and None for none; as `seconds`."""
    return None if value is None else seconds(value)


def above_zero(value: Duration) -> float:
    """Return a duration that is longer than 0 in seconds; as `seconds`."""
    if found := seconds(value):
        return found
    raise ValueError(f"{value!r} leaves no time: write a duration longer than 0.")


def seconds(value: Duration) -> float:
    """Return a duration in seconds (0 to ten years).

    Raises:
        ValueError: it is no duration; the message says how to write one.
    """
    found = None
    if isinstance(value, timedelta):
        found = value.total_seconds()
    elif isinstance(value, str):
        match = _TEXT.fullmatch(value)
        found = float(match[1]) * _UNITS[match[2]] if match else None
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = value
    if found is None or not 0 <= found <= LONGEST:
        raise ValueError(
            f"{value!r} is no duration: write '90s', '10m', '2h', '3d' or '1w', a timedelta or a number of seconds, "
            "at most ten years."
        )
    return float(found)
