"""Being asked to stop: SIGTERM and SIGINT."""

from __future__ import annotations

import signal
import threading


def listen(stop: threading.Event) -> list[str]:
    """Set `stop` at SIGTERM and SIGINT; returns a list to which the names of those that come are added."""
    received: list[str] = []

    def on_signal(number: int, _frame: object) -> None:
        received.append(signal.Signals(number).name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    return received
