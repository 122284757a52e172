"""A few threads that call functions when they are due."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from time import monotonic

from app import log

logger = log.get(__name__)


class Scheduler:
    """Calls functions at given times (`time.monotonic`), several at once but no more than it has threads."""

    def __init__(self, threads: int) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._changed = threading.Condition()
        self._is_stopping = False
        self._threads = threads
        self._running = 0

    def start(self) -> None:
        """Start the threads."""
        for number in range(self._threads):
            threading.Thread(target=self._run, name=f"live-{number}", daemon=True).start()

    def stop(self) -> None:
        """Forget what is due and let the threads end."""
        with self._changed:
            self._is_stopping = True
            self._due.clear()
            self._changed.notify_all()

    def at(self, when: float, work: Callable[[], None]) -> None:
        """Call `work` at `when` or as soon after it as a thread is free."""
        with self._changed:
            heapq.heappush(self._due, (when, next(self._number), work))
            self._changed.notify()

    def wait_until_idle(self, timeout_seconds: float) -> bool:
        """Wait until no call is under way; return whether that came true in time. What is due later does not count."""
        with self._changed:
            return self._changed.wait_for(lambda: self._running == 0, timeout_seconds)

    def _run(self) -> None:
        while (work := self._next()) is not None:
            try:
                work()
            except Exception:  # a wall: one failure must not cost the thread
                logger.exception("live.work_failed")
            finally:
                with self._changed:
                    self._running -= 1
                    self._changed.notify_all()

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            while not self._is_stopping:
                wait = self._due[0][0] - monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    work = heapq.heappop(self._due)[2]
                    self._running += 1
                    self._changed.notify()  # someone else must now watch the next time
                    return work
                self._changed.wait(wait)
            return None
