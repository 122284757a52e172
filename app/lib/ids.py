"""Identifiers: UUIDv7, so that they sort by the time they were made; and names of processes."""

from __future__ import annotations

import os
import secrets
import socket
import uuid

from uuid_utils.compat import uuid7


def new_id() -> uuid.UUID:
    """Return a fresh UUIDv7 (time-ordered to the millisecond, 74 random bits)."""
    return uuid7()


def parse_id(text: object) -> uuid.UUID | None:
    """Return the UUID that `text` is, or that is written in it, or None when it is none."""
    try:
        return uuid.UUID(str(text))
    except ValueError:
        return None


def process_name(suffix: str = "") -> str:
    """Return a name for something of this process: its host, its number, and `suffix` or a few random characters."""
    return f"{socket.gethostname()}-{os.getpid()}-{suffix or secrets.token_hex(2)}"
