"""A process forked beside this one, with which it shares its fate."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from app.lib.zygote import die_with


class Companion:
    """Runs `main()` in a process of its own; fork it before this process has threads or open connections.

    It is killed when this process ends in any way, and asked to stop (SIGTERM) when this one is.
    """

    def __init__(self, main: Callable[[], int]) -> None:
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                die_with(parent)
                code = main()
            finally:
                os._exit(code)
        self._has_ended = threading.Event()

    def follow(self, stop: threading.Event, on_lost: Callable[[], object]) -> None:
        """Ask it to stop when `stop` is set; set `stop`, after `on_lost()`, when it ends before."""

        def pass_on() -> None:
            stop.wait()
            if not self._has_ended.is_set():
                os.kill(self.pid, signal.SIGTERM)

        def watch() -> None:
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)  # a zombie's number stays its own
            self._has_ended.set()
            if not stop.is_set():
                on_lost()
                stop.set()

        for work in (pass_on, watch):
            threading.Thread(target=work, name="companion", daemon=True).start()

    def join(self, seconds: float) -> bool:
        """Wait up to `seconds` for it to end; tells whether it has."""
        return self._has_ended.wait(seconds)
