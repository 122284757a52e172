"""Durations as people write them: "90s", "10m", "2h", "3d", "1w"."""

from __future__ import annotations

import re
from datetime import timedelta

Duration = str | float | timedelta
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_TEXT = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


def seconds(duration: Duration) -> float:
    """Return the seconds of a duration: a text such as "10m", a timedelta, or a number of seconds.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    if isinstance(duration, int | float):
        return float(duration)
    found = _TEXT.fullmatch(duration)
    if found is None:
        raise ValueError(f"{duration!r} is no duration; write it like 90s, 10m, 2h, 3d or 1w.")
    return float(found[1]) * _UNITS[found[2]]
