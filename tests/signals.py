"""Waiting for something that has no signal of its own, without guessing how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(check: Callable[[], bool], seconds: float = 30.0) -> None:
    """Return as soon as `check()` is true; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, f"not true within {seconds} s: {check}"
        time.sleep(0.01)
