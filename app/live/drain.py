"""Ending the sockets of a process that stops, so that browsers come back to another one at once."""

from __future__ import annotations

import threading
import time
from typing import Any

from app.live.connection import SERVICE_RESTART
from app.live.hub import hubs

LOOK_SECONDS = 0.3


def close_all(code: int = SERVICE_RESTART) -> None:
    """End every live socket of this process; hx-ws reconnects after the default code (service restart)."""
    for hub in tuple(hubs):
        hub.close_all(code)


def close_when_stopping(worker: Any) -> None:
    """End the sockets as soon as this gunicorn worker stops: its `post_worker_init` hook.

    gunicorn otherwise waits for them until its graceful timeout, and then ends them without a word.
    """

    def watch() -> None:
        while worker.alive:
            time.sleep(LOOK_SECONDS)
        close_all()

    threading.Thread(target=watch, name="live-drain", daemon=True).start()
