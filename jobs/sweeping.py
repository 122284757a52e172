"""What is removed when its time is over, whether or not anybody comes by: expired uploads, kept answers of models.

Every upkeep process sweeps once an hour. Two at once do no harm: each removal is repeatable. It needs the data folder
that the web processes share; on a machine without it only rows would go, and the files would stay.
"""

from __future__ import annotations

import threading
from typing import Protocol

from flask import Flask

from app import log
from app.adapters import cache
from app.videos import service

logger = log.get(__name__)

PAUSE_SECONDS = 3600.0


class Stop(Protocol):
    """What ends the loop: a threading.Event."""

    def wait(self, seconds: float, /) -> bool:
        """Wait, and tell whether to end."""


def start(app: Flask) -> threading.Thread:
    """Sweep now and every hour, in a thread that ends with the process."""
    thread = threading.Thread(target=loop, args=(app, threading.Event()), name="sweeping", daemon=True)
    thread.start()
    return thread


def loop(app: Flask, stop: Stop) -> None:
    """Sweep until `stop` says so; a sweep that fails is logged and tried again in an hour."""
    while True:
        try:
            sweep(app)
        except Exception:  # the wall of this thread: a lost database or disk must not end it
            logger.exception("sweep.failed")
        if stop.wait(PAUSE_SECONDS):
            return


def sweep(app: Flask) -> None:
    """Remove everything whose time is over."""
    with app.app_context():
        service.remove_expired()
        service.remove_left_behind()
        cache.forget_expired()
