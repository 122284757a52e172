"""`ctx.meta`: what a run says of itself to people, made of small changes that count exactly once.

What a step did is kept with its memo, and done again when that is recalled; what the body does outside of steps it
does again on each pass. So the state is a function of the body and its memos. Changes are ordered by where they stand
in the body: the timing of branches decides nothing.
"""

import json
import weakref
from collections.abc import Sequence
from typing import Any

from app.engine import codec, current
from app.engine.current import Attempt
from app.engine.errors import EngineError, LimitExceeded
from app.engine.store import Claimed
from app.lib.changes import Change, Changes, Place, fits, joined, shown
from app.lib.latest import Latest

MAX_BYTES = 64 * codec.KIB


class Meta(Latest):
    """The meta of one run. At most 64 KiB of JSON in all."""

    def __init__(self, run: Claimed) -> None:
        super().__init__(is_said=run.has_meta)
        self._run = run
        self._changes = Changes()
        self._is_set = False  # then the order of the changes decides also how large all of them are
        # Whose steps may all succeed, and where they are.
        self._trying: weakref.WeakKeyDictionary[Attempt, Place] = weakref.WeakKeyDictionary()
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
        self._change(key, "increment", by)

    def append(self, key: str, value: Any) -> None:
        """Append `value` (JSON) to the list at `key`; raises like `set`, and where there is something else."""
        self._change(key, "append", [value])

    def apply(self, position: Sequence[float], changes: dict[str, Change] | None) -> None:
        """Let what a remembered step did to meta count."""
        if changes:
            with self._lock:
                self._changes.add(tuple(position), changes)
                self._is_set |= any(verb == "set" for verb, _ in changes.values())
                self._run.has_meta = True
                self._say()

    def _state(self) -> dict[str, Any]:
        return self._changes.result()

    def _change(self, key: str, verb: str, value: Any) -> None:
        change: Change = (verb, json.loads(codec.dumps(value, f"What is put into ctx.meta at {key!r}")))
        attempt = current.attempt()
        place = current.place()
        with self._lock:
            state = self._changes.so_far
            for trying in self._trying:
                state = joined(state, trying.meta)
            if not fits(state.get(key), change):
                there = state[key][1] if key in state else "nothing"
                raise EngineError(f"ctx.meta.{verb}({key!r}, ...) does not fit: there is {there!r}. Set it first.")
            made = {key: change}
            after = shown(joined(state, made))
            self._is_set |= verb == "set"
            if self._is_set and (not self._changes.is_ordered or len(self._trying) > (attempt in self._trying)):
                others = [(where, trying.meta) for trying, where in self._trying.items() if trying is not attempt]
                after = self._changes.result([*others, (place, joined(attempt.meta, made) if attempt else made)])
            size = len(codec.dumps(after, "ctx.meta"))
            if size > MAX_BYTES:
                raise LimitExceeded("meta_bytes", f"ctx.meta would be {size} bytes; at most {MAX_BYTES} are kept.")
            if attempt is not None:
                self._trying[attempt] = place
                attempt.meta.update(joined(attempt.meta, made))
        if attempt is None:
            self.apply(place, made)
