"""Cron expressions: five fields, and before them, if wanted, the time zone in which they are meant."""

from __future__ import annotations

import re
from datetime import datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_TEXT = re.compile(r"(?:TZ=(\S+) +)?(\S+(?: +\S+){4})")


def parse(text: str) -> tuple[str, ZoneInfo]:
    """Return the five fields and the time zone (UTC unless said) of `0 9 * * 1-5` or `TZ=Europe/Berlin 0 9 * * 1-5`.

    Raises:
        ValueError: it is no cron expression, or there is no such zone; the message says which.
    """
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no cron expression: write five fields, such as 'TZ=Europe/Berlin 0 9 * * 1-5'.")
    try:
        zone = ZoneInfo(match[1] or "UTC")
    except (LookupError, ValueError, OSError) as error:
        raise ValueError(f"{match[1]!r} is no time zone: write it like Europe/Berlin.") from error
    try:
        CronSim(match[2], datetime.now(zone))
    except CronSimError as error:
        raise ValueError(f"{match[2]!r} is no cron expression: {error}.") from error
    return match[2], zone
