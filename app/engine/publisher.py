"""Telling browsers what changed, off the run threads: topics coalesce while a message is on its way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

SPACING = 0.05  # seconds between two batches; the first one goes out at once


class Publisher:
    """A thread that publishes changed topics."""

    def __init__(self, publish: Callable[[Iterable[str]], None]) -> None:
        self._publish = publish
        self._topics: set[str] = set()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closed = threading.Event()

    def add(self, topics: Iterable[str]) -> None:
        """Publish these topics soon."""
        with self._lock:
            self._topics.update(topics)
        if not self._wake.is_set():  # cheaper than to set it again
            self._wake.set()

    def loop(self) -> None:
        """Publish until closed."""
        while not self._closed.is_set():
            self._wake.wait()
            self._wake.clear()
            self.flush()
            self._closed.wait(SPACING)

    def flush(self) -> None:
        """Publish what has gathered."""
        with self._lock:
            topics, self._topics = self._topics, set()
        if topics:
            self._publish(sorted(topics))

    def close(self) -> None:
        """Publish the rest and stop."""
        self._closed.set()
        self._wake.set()
        self.flush()
