"""The list of all model calls since the start (or since DELETE), so that tests can count them."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter, deque
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT = 20_000  # calls; the counts go on beyond


@dataclass
class Call:
    """One call; `content_hash` is the SHA-256 of what was sent. A dropped or unfinished call has no status."""

    number: int
    path: str
    started_at: float  # Unix time
    model: str = ""
    content_hash: str = ""
    finished_at: float | None = None
    status: int | None = None
    input_tokens: int = 0  # as the answer counts them; 0 of what was not answered
    output_tokens: int = 0


class CallLog:
    """Thread-safe list and counts of calls, and how many ran at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures: Counter[tuple[str, str]] = Counter()
        self.reset()

    def reset(self) -> None:
        """Forget every call, and how often faults have struck."""
        with self._lock:
            self._calls: deque[Call] = deque(maxlen=KEPT)
            self._numbers = itertools.count(1)
            self._counts: Counter[str] = Counter()
            self._tokens: Counter[str] = Counter()
            self._active = self._most = 0
            self._failures.clear()

    @contextmanager
    def record(self, path: str) -> Iterator[Call]:
        """Count a call from its beginning; its model, hash and status are filled in as they become known."""
        with self._lock:
            call = Call(next(self._numbers), path, time.time())
            self._calls.append(call)
            self._active += 1
            self._most = max(self._most, self._active)
        try:
            yield call
        finally:
            with self._lock:
                call.finished_at = time.time()
                self._active = max(0, self._active - 1)
                self._counts[f"{call.path} {call.model}"] += 1
                self._tokens.update(input=call.input_tokens, output=call.output_tokens)

    def strike(self, model: str, content_hash: str) -> int:
        """Count one more call of this content to this faulty model and return how many there were."""
        with self._lock:
            self._failures[model, content_hash] += 1
            return self._failures[model, content_hash]

    def summary(self) -> dict[str, Any]:
        """Return what /__calls answers: counts and tokens of finished calls, most at once, every call in order."""
        with self._lock:
            return {
                "count": len(self._calls),
                "counts": dict(self._counts),
                "tokens": {"input": self._tokens["input"], "output": self._tokens["output"]},
                "active": self._active,
                "most_at_once": self._most,
                "calls": [asdict(call) for call in self._calls],
            }
