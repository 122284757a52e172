"""Paths of our own site: where a person may be sent after signing in."""

from __future__ import annotations

import re
from urllib.parse import unquote

LONGEST = 2000
ROUNDS = 3

# One slash, then neither a second one nor a backslash (browsers read both as the start of another host).
_OWN = re.compile(r"/(?![/\\])[^\\\x00-\x1f\x7f]*")


def own_path(text: str | None) -> str | None:
    """Return `text` if it is a path (and query) of our own site in every reading, else None.

    Browsers turn backslashes into slashes and drop tabs and newlines, and a proxy may decode once more than we
    do: so the path must be harmless as written and after every round of percent-decoding.
    """
    if not text or len(text) > LONGEST or " " in text or not _OWN.fullmatch(text):
        return None
    reading = re.split(r"[?#]", text, maxsplit=1)[0]
    for _round in range(ROUNDS + 1):
        if not _OWN.fullmatch(reading) or "//" in reading:
            return None
        decoded = unquote(reading)
        if decoded == reading:
            return text
        reading = decoded
    return None  # still encoded after three rounds: nobody writes that by accident
