"""Texts by which things are told apart."""

from __future__ import annotations

import hashlib
from typing import Any

MAX_KEY = 200


def compact(value: Any) -> str:
    """Return `value` as a short text that PostgreSQL can hold: long or unprintable ones become their hash."""
    text = str(value)
    return text if len(text) <= MAX_KEY and text.isprintable() else digest(text)


def digest(text: str) -> str:
    """Return the SHA-256 of any text, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
