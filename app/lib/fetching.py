"""Slots that also fetch work: in small batches, which lie ready for whichever thread is free first."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from app.lib.slots import Slots

SLICE_SECONDS = 5.0  # how long a thread goes on with other work before whoever gave it some gets it back
BATCH = 10
SHORT_SECONDS = 0.1  # more than one piece is fetched at once only while they take no longer than this
PATIENCE_SECONDS = 0.5  # for which a fetched piece waits for a thread, before others may have it
NOTED = 20  # of the results of a slice
Piece = TypeVar("Piece")
Result = TypeVar("Result")
T = TypeVar("T")


class Fetching(Slots, ABC, Generic[Piece, Result]):
    """Threads for work that others could do as well: what was fetched and finds no thread is given back."""

    def __init__(self, threads: int, name: str) -> None:
        super().__init__(threads, threading.Event(), name)
        self._fetching, self._popping = threading.Lock(), threading.Lock()
        self._ready: deque[tuple[float, Piece]] = deque()  # since when; to be taken by whichever thread comes first
        self._usual_seconds = 1.0  # that pieces have taken lately

    @abstractmethod
    def fetch(self, limit: int) -> Sequence[Piece]:
        """Return work to be done, of which nobody else will do any until it is given back."""

    @abstractmethod
    def do(self, piece: Piece) -> Result | None:
        """Do what was fetched; None is not worth noting."""

    @abstractmethod
    def give_back(self, piece: Piece) -> None:
        """Leave what was fetched to others."""

    def poll(self) -> None:
        """Fetch as much as there are free threads, and let these do it."""
        self.give_back_waiting(PATIENCE_SECONDS)
        free = self.free()
        if free == 0 or self.stop.is_set() or not self._fetching.acquire(blocking=False):
            return
        try:
            self._lay_ready(min(free, BATCH))
        finally:
            self._fetching.release()
        if not self._wake_free_threads():
            self.give_back_waiting()  # somebody was quicker, or we are leaving; this thread must hear of signals

    def go_on(self, deadline: float | None = None) -> list[Result]:
        """Do what else is there, until `deadline` (of time.monotonic()) at most; returns the last few results."""
        results: deque[Result] = deque(maxlen=NOTED)
        deadline = deadline or time.monotonic() + SLICE_SECONDS
        while time.monotonic() < deadline and not self.stop.is_set():
            piece = self._take()
            if piece is None:
                break
            result = self.do(piece)
            if result is not None:
                results.append(result)
        return list(results)

    def timed(self, work: Callable[..., T], *args: Any, **more: Any) -> T:
        """Return what `work` does, and learn how long pieces take."""
        began = time.monotonic()
        try:
            return work(*args, **more)
        finally:
            self._usual_seconds += (time.monotonic() - began - self._usual_seconds) / 8

    def give_back_waiting(self, after: float = 0.0) -> None:
        """Give back the pieces that no thread has taken in `after` seconds: others may be idle."""
        while (waiting := self._pop(after)) is not None:
            self.give_back(waiting)

    def shut(self) -> None:
        """Take no more work; what has been submitted begins all the same: what was fetched must be given back."""
        super().shut()
        self.give_back_waiting()

    def freed(self) -> None:
        """Let the thread that has become free take what lies ready."""
        self._wake_free_threads()

    def _take(self) -> Piece | None:
        """Return a piece that lies ready, else the first of a new batch, whose others are for all threads."""
        with self._fetching:
            piece = self._pop()
            if piece is not None:
                return piece
            self._lay_ready(BATCH if self._usual_seconds <= SHORT_SECONDS else 1)
            if self.stop.is_set():
                self.give_back_waiting()  # nobody comes for it any more
            piece = self._pop()
        self._wake_free_threads()
        return piece

    def _pop(self, after: float = 0.0) -> Piece | None:
        with self._popping:
            is_due = self._ready and time.monotonic() - self._ready[0][0] >= after
            return self._ready.popleft()[1] if is_due else None

    def _lay_ready(self, limit: int) -> None:
        pieces = self.fetch(limit)
        self._ready.extend((time.monotonic(), piece) for piece in pieces)

    def _wake_free_threads(self) -> bool:
        """Let free threads take what lies ready, so that it waits for no long piece; false if there are too few."""
        return all(self.submit(self.go_on) is not None for _ in range(len(self._ready)))
