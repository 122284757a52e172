"""`ctx.meta`: what a run says of itself to people, made of small changes that count exactly once.

What a step did is kept with its memo, and done again when that is recalled; what the body does outside of steps it
does again on each pass. So the state is a function of the body and its memos. Changes are ordered by where they stand
in the body: the timing of branches decides nothing.
"""

from __future__ import annotations

import json
import threading
import weakref
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from app.engine import codec, current
from app.engine.current import Attempt, Change
from app.engine.errors import EngineError, LimitExceeded

if TYPE_CHECKING:
    from app.engine.store import Claimed

MAX_BYTES = 64 * codec.KIB


class Meta:
    """The meta of one run. At most 64 KiB of JSON in all."""

    def __init__(self, run: Claimed) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._places: dict[tuple[float, ...], dict[str, Change]] = {}
        self._state: dict[str, Change] = {}  # in the order of arrival: what the next change is checked against
        self._trying: weakref.WeakSet[Attempt] = weakref.WeakSet()
        self._is_dirty = False
        self.is_caught_up = False  # people must not see a counter fall while a pass goes over what is remembered

    def set(self, key: str, value: Any) -> None:
        """Set `key` to `value` (JSON).

        Raises:
            NotJson: it is none.
            LimitExceeded: the meta of this run would be over 64 KiB.
        """
        self._change(key, "set", value)

    def increment(self, key: str, by: float = 1) -> None:
        """Add `by` to the number at `key` (0 when there is none); raises like `set`, and where there is no number."""
        if not _is_number(by):
            raise EngineError(f"ctx.meta.increment({key!r}) takes a number, not {by!r}.")
        self._change(key, "increment", by)

    def append(self, key: str, value: Any) -> None:
        """Append `value` (JSON) to the list at `key`; raises like `set`, and where there is something else."""
        self._change(key, "append", [value])

    def apply(self, position: Sequence[float], changes: Iterable[Sequence[Any]]) -> None:
        """Let what a remembered step did to meta count (`[verb, key, value]` each)."""
        with self._lock:
            for verb, key, value in changes:
                self._let_count(tuple(position), key, (verb, value))

    def take(self) -> str | None:
        """Return the state as JSON if it has not been written yet."""
        with self._lock:
            if not (self._is_dirty and self.is_caught_up):
                return None
            self._is_dirty = False
            return self._json()

    def last(self, *, is_whole: bool) -> str | None:
        """Return the state as JSON for the write with which the run is left, unless there never was any.

        `is_whole`: the body was left where it ended or waits, not on its way there.
        """
        with self._lock:
            return self._json() if self._run.has_meta and (is_whole or self.is_caught_up) else None

    def put_back(self) -> None:
        """Mark the state as not written after all."""
        self._is_dirty = self._run.has_meta

    def _change(self, key: str, verb: str, value: Any) -> None:
        change: Change = (verb, json.loads(codec.dumps(value, f"What is put into ctx.meta at {key!r}")))
        attempt = current.attempt()
        with self._lock:
            state = self._state
            for trying in self._trying:  # their steps may all succeed
                state = _joined(state, trying.meta)
            if verb != "set" and key in state and not _fits(state[key], change):
                raise EngineError(f"ctx.meta.{verb}({key!r}): there is {state[key][1]!r}; set it to something first.")
            size = len(_dumps(_joined(state, {key: change})))
            if size > MAX_BYTES:
                raise LimitExceeded("meta_bytes", f"ctx.meta would be {size} bytes; at most {MAX_BYTES} are kept.")
            if attempt is None:
                self._let_count(current.place(), key, change)
            else:
                self._trying.add(attempt)
                attempt.meta[key] = _then(attempt.meta.get(key), change)

    def _let_count(self, place: tuple[float, ...], key: str, change: Change) -> None:
        there = self._places.setdefault(place, {})
        there[key] = _then(there.get(key), change)
        self._state[key] = _then(self._state.get(key), change)
        self._is_dirty = self._run.has_meta = True

    def _json(self) -> str:
        state: dict[str, Change] = {}
        for _, changes in sorted(self._places.items()):
            state = _joined(state, changes)
        return _dumps(state)


def _dumps(state: dict[str, Change]) -> str:
    return codec.dumps({key: value for key, (_, value) in state.items()}, "ctx.meta")


def _joined(state: dict[str, Change], changes: dict[str, Change]) -> dict[str, Change]:
    return {**state, **{key: _then(state.get(key), change) for key, change in changes.items()}}


def _then(before: Change | None, change: Change) -> Change:
    """Return the one change that does what both do, one after the other; what does not fit begins anew."""
    if before is None or change[0] == "set" or not _fits(before, change):
        return change
    return before[0], before[1] + change[1]


def _fits(before: Change, change: Change) -> bool:
    return isinstance(before[1], list) if change[0] == "append" else _is_number(before[1])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
