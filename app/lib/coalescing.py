"""Doing something with many things at once, off the threads that name them: they gather while it is being done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from app.lib import threads

SPACING = 0.05  # seconds between two batches; the first one is done at once
T = TypeVar("T")


class Coalescer(Generic[T]):
    """A thread, started at once, that does `work` with what has been added."""

    def __init__(self, name: str, work: Callable[[Iterable[T]], None]) -> None:
        self._work = work
        self._things: set[T] = set()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._thread = threads.start(name, self._loop)

    def add(self, things: Iterable[T]) -> None:
        """Do it with these soon."""
        with self._lock:
            self._things.update(things)
        self._wake.set()

    def _loop(self) -> None:
        while not self._closed.is_set():
            self._wake.wait()
            self._wake.clear()
            self.flush()
            self._closed.wait(SPACING)

    def flush(self) -> None:
        """Do it with what has gathered."""
        with self._lock:
            things, self._things = self._things, set()
        if things:
            self._work(sorted(things))  # type: ignore[type-var]  # texts and ids: both have an order

    def close(self) -> None:
        """Do the rest and stop, within a second."""
        self._closed.set()
        self._wake.set()
        self.flush()
        self._thread.join(1.0)
