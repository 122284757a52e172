"""Threads that work beside the rest of a process and end with it."""

from __future__ import annotations

import threading
from collections.abc import Callable


def start(name: str, work: Callable[..., object], *args: object) -> threading.Thread:
    """Start a daemon thread that does `work(*args)`."""
    thread = threading.Thread(target=work, args=args, name=name, daemon=True)
    thread.start()
    return thread
