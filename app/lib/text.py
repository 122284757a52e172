"""How values read to a person: durations, sizes, money, times, names."""

from __future__ import annotations

from datetime import datetime

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_CENT_MICROUSD = 10_000
_KILO = 1000
_SKEW = 5  # seconds by which two clocks may differ


def duration(seconds: float | None) -> str:
    """Return seconds as a clock reading: "0:07", "3:07", "1:02:03"; nothing for None or below zero: "0:00"."""
    whole = max(0, int(seconds or 0))
    hours, rest = divmod(whole, _HOUR)
    minutes, left = divmod(rest, _MINUTE)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def span(seconds: float | None) -> str:
    """Return how long something takes in words: "under a second", "8 s", "4 min", "2 h 5 min"."""
    value = max(0.0, seconds or 0.0)
    if value < 1:
        return "under a second"
    whole = round(value)
    if whole < _MINUTE:
        return f"{whole} s"
    if round(whole / _MINUTE) < _MINUTE:
        return f"{round(whole / _MINUTE)} min"
    whole = max(whole, _HOUR)
    hours, rest = divmod(whole, _HOUR)
    minutes = rest // _MINUTE
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def exact_span(seconds: float) -> str:
    """Return how long something has taken to the second, below an hour: "19 s", "2 min 5 s", "3 h 20 min".

    static/app.js says the same words when it counts on: change both together.
    """
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"


def file_size(size_bytes: float | None) -> str:
    """Return bytes in decimal units: "0 B", "812 B", "4.2 MB", "1.3 GB"."""
    value = float(max(0, size_bytes or 0))
    for unit in ("B", "kB", "MB", "GB"):
        if round(value, 1) < _KILO:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"  # noqa: PLR2004
        value /= _KILO
    return f"{value:.1f} TB"


def money(microusd: float | None) -> str:
    """Return micro-USD as dollars: "$0.00", "$1,204.50"; "$0.0012" under a cent, so small work is not "free"."""
    amount = microusd or 0
    if 0 < amount < _CENT_MICROUSD:
        return f"${amount / 1e6:.4f}" if amount >= 100 else "under $0.0001"  # noqa: PLR2004
    return f"${amount / 1e6:,.2f}"


def one_line(text: str) -> str:
    """Return what a person typed as one line: runs of white space become one space, NUL (no column takes it) goes."""
    return " ".join(text.replace("\x00", "").split())


def like(part: str) -> str:
    """Return the pattern by which SQL's LIKE finds texts that hold `part`."""
    return "%" + part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"


def initials(name: str) -> str:
    """Return one or two capital letters for a name or an address: "Ada Lovelace" gives "AL"."""
    words = [word for word in name.partition("@")[0].replace(".", " ").replace("_", " ").split() if word[0].isalnum()]
    if not words:
        return "?"
    return (words[0][0] + (words[-1][0] if len(words) > 1 else "")).upper()


def pluralise(count: int, one: str, many: str | None = None) -> str:
    """Return the count with its noun: "1 video", "2 videos", "1,204 videos"; `many` for irregular nouns."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def ago(when: datetime, now: datetime) -> str:
    """Return how far `when` lies from `now`, both aware.

    "just now", "5 min ago", "yesterday", "12 Mar 2026"; of what is to come "in a moment", "in 3 h", "12 Mar 2026".
    static/app.js says the same words when it renews them: change both together.
    """
    seconds = (now - when).total_seconds()
    distance = abs(seconds)
    if distance < 45:  # noqa: PLR2004
        return "in a moment" if seconds < -_SKEW else "just now"
    if distance < _DAY:
        amount = f"{max(1, int(distance // _MINUTE))} min" if distance < _HOUR else f"{int(distance // _HOUR)} h"
        return f"{amount} ago" if seconds > 0 else f"in {amount}"
    if seconds > 0 and distance < 2 * _DAY:
        return "yesterday"
    if seconds > 0 and distance < 7 * _DAY:
        return f"{int(distance // _DAY)} days ago"
    return f"{when.day} {when:%b %Y}"
