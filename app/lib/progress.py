"""A run's progress, in the one shape that pages know."""

from __future__ import annotations

import json
import math
import threading
import time
from typing import Any

MAX_NAMES = 200


def shown(said: dict[str, Any] | None, *, is_working: bool) -> dict[str, Any] | None:
    """Return what of the progress that a run has said is true now, for a bar; None when there is nothing to show.

    Of a run that is not being executed nothing moves: no time is left, and without a percentage there is no bar.
    """
    found = {name: (said or {}).get(name) for name in ("percent", "message", "current_step", "eta_seconds")}
    if not is_working:
        found["eta_seconds"] = None
    words = found["message"] or found["current_step"]
    return found if found["percent"] is not None or (words and is_working) else None


class Progress:
    """Collects what the body says; whoever writes it takes the newest state, so saying it is cheap."""

    def __init__(self, known: dict[str, Any] | None = None) -> None:
        self._lock = threading.Lock()
        self._state: dict[str, Any] = known or {
            "current_step": None,
            "completed_steps": [],
            "total_steps": None,
            "percent": None,
            "eta_seconds": None,
            "message": "",
            "errors": [],
        }
        self._is_dirty = self._is_said = False
        self._measured_from: tuple[float, float] | None = None  # (time, fraction) of this step's first count
        # A run that is taken up again goes over its body from the beginning: until it is where it was, its counts come
        # as fast as memory gives them, and tell nothing of how fast it works.
        self._replays_to = (self._state["current_step"], (self._state["percent"] or 0.0) / 100) if known else None
        self._replayed = {self._state["current_step"], *self._state["completed_steps"]}

    def say(
        self,
        *,
        current_step: str | None = None,
        done: float | None = None,
        total: float | None = None,
        message: str | None = None,
    ) -> None:
        """Take up what has changed."""
        with self._lock:
            state = self._state
            if current_step is not None and current_step != state["current_step"]:
                self._begin(current_step)
            if message is not None:
                state["message"] = str(message)[:500]
            if done is not None and total and math.isfinite(done) and math.isfinite(total):  # JSON has no others
                self._count(done, total)
            self._is_dirty = self._is_said = True

    def add_error(self, step: str, message: str) -> None:
        """Keep a failed try among the errors (the last twenty)."""
        with self._lock:
            self._state["errors"] = [*self._state["errors"], {"step": step, "message": message}][-20:]
            self._is_dirty = self._is_said = True

    def take(self) -> str | None:
        """Return the newest state as JSON if it has not been written yet."""
        with self._lock:
            if not self._is_dirty:
                return None
            self._is_dirty = False
            return json.dumps(self._state, default=str)

    def last(self) -> str | None:
        """Return the newest state as JSON if anything was said here: for the write with which the run is left.

        Also what has been taken: whoever took it may not have written it yet, and after this it cannot.
        """
        with self._lock:
            return json.dumps(self._state, default=str) if self._is_said else None

    def put_back(self) -> None:
        """Mark the state as not written after all."""
        with self._lock:
            self._is_dirty = self._is_said

    def _begin(self, name: str) -> None:
        state = self._state
        done = state["completed_steps"]
        if name in done:  # a replay goes over the body from its beginning
            state["completed_steps"] = done[: done.index(name)]
        elif state["current_step"]:
            state["completed_steps"] = [*done, state["current_step"]][-MAX_NAMES:]
        state["current_step"] = name
        state["eta_seconds"] = self._measured_from = None
        if name not in self._replayed:
            self._replays_to = None

    def _count(self, done: float, total: float) -> None:
        fraction = min(max(done / total, 0.0), 1.0)
        self._state["total_steps"] = total
        self._state["percent"] = round(100 * fraction, 1)
        now = time.monotonic()
        if self._is_replayed(fraction) or self._measured_from is None or fraction < self._measured_from[1]:
            self._state["eta_seconds"] = None
            self._measured_from = (now, fraction)
            return
        start, before = self._measured_from
        if fraction > before:
            self._state["eta_seconds"] = round((now - start) * (1 - fraction) / (fraction - before), 1)

    def _is_replayed(self, fraction: float) -> bool:
        if self._replays_to is None:
            return False
        step, reached = self._replays_to
        # `percent`, which is what is known of the pass before, is rounded to a thousandth.
        if self._state["current_step"] == step and fraction > reached + 0.0006:
            self._replays_to = None
        return self._replays_to is not None
