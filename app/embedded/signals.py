"""Signals as facts to look at, so that a stop never tears a start apart in the middle."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from types import FrameType


class Stop(Exception):
    """Somebody asked us to stop."""


class Signals:
    """Counts the requests to stop; `wait` wakes at once when a signal comes or a child ends."""

    def __init__(self) -> None:
        self.stops = 0
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def check(self) -> None:
        """Raise Stop when somebody asked for it."""
        if self.stops:
            raise Stop

    def wait(self, seconds: float) -> None:
        """Wait for a signal, at most `seconds`; raise Stop when it was a request to stop."""
        self.check()
        select.select([self._reader], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 4096)
        self.check()

    def close(self) -> None:
        """Stop listening (the handlers stay until others are set)."""
        signal.set_wakeup_fd(-1)
        for end in (self._reader, self._writer):
            os.close(end)

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stops += 1
