"""Identifiers: UUIDv7, so that they sort by the time they were made."""

from __future__ import annotations

import uuid

from uuid_utils.compat import uuid7


def new_id() -> uuid.UUID:
    """Return a fresh UUIDv7 (time-ordered to the millisecond, 74 random bits)."""
    return uuid7()


def parse_id(text: str) -> uuid.UUID | None:
    """Return the UUID written in `text` in its canonical form, or None when it is not one."""
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
