"""A run's progress, in the one shape that pages know."""

from __future__ import annotations

import math
import time
from typing import Any

from app.lib.json_text import printable, text_of
from app.lib.latest import Latest

MAX_NAMES = 200
MAX_NAME = 200  # characters
MAX_MESSAGE = 500


def shown(said: dict[str, Any] | None, *, is_working: bool) -> dict[str, Any] | None:
    """Return what of the progress that a run has said is true now, for a bar; None when there is nothing to show.

    Of a run that is not being executed nothing moves: no time is left, and without a percentage there is no bar.
    """
    found = {name: (said or {}).get(name) for name in ("percent", "message", "current_step", "eta_seconds")}
    if not is_working:
        found["eta_seconds"] = None
    words = found["message"] or found["current_step"]
    return found if found["percent"] is not None or (words and is_working) else None


class Progress(Latest):
    """Collects what the body says."""

    def __init__(self, known: dict[str, Any] | None = None) -> None:
        super().__init__()
        self._known: dict[str, Any] = known or {
            "current_step": None,
            "completed_steps": [],
            "total_steps": None,
            "percent": None,
            "eta_seconds": None,
            "message": "",
            "errors": [],
        }
        self._measured_from: tuple[float, float] | None = None  # (time, fraction) of this step's first count
        # A run that is taken up again goes over its body from the beginning: until it is where it was, its counts come
        # as fast as memory gives them, and tell nothing of how fast it works.
        self._replays_to = (self._known["current_step"], (self._known["percent"] or 0.0) / 100) if known else None
        self._replayed = {self._known["current_step"], *self._known["completed_steps"]}

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
            state = self._known
            name = None if current_step is None else printable(text_of(current_step))[:MAX_NAME]
            if name is not None and name != state["current_step"]:
                self._begin(name)
            if message is not None:
                state["message"] = printable(text_of(message))[:MAX_MESSAGE]
            if done is not None and total and math.isfinite(done) and math.isfinite(total):  # JSON has no others
                self._count(done, total)
            self._say()

    def add_error(self, step: str, message: str) -> None:
        """Keep a failed try among the errors (the last twenty)."""
        with self._lock:
            self._known["errors"] = [*self._known["errors"], {"step": step, "message": message}][-20:]
            self._say()

    def _state(self) -> dict[str, Any]:
        return self._known

    def _begin(self, name: str) -> None:
        state = self._known
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
        fraction = round(min(max(done / total, 0.0), 1.0), 9)  # a smaller one would make the time left infinite
        self._known["total_steps"] = total
        self._known["percent"] = round(100 * fraction, 1)
        now = time.monotonic()
        if self._is_replayed(fraction) or self._measured_from is None or fraction < self._measured_from[1]:
            self._known["eta_seconds"] = None
            self._measured_from = (now, fraction)
            return
        start, before = self._measured_from
        if fraction > before:
            self._known["eta_seconds"] = round((now - start) * (1 - fraction) / (fraction - before), 1)

    def _is_replayed(self, fraction: float) -> bool:
        if self._replays_to is None:
            return False
        step, reached = self._replays_to
        # `percent`, which is what is known of the pass before, is rounded to a thousandth.
        if self._known["current_step"] == step and fraction > reached + 0.0006:
            self._replays_to = None
        return self._replays_to is not None
