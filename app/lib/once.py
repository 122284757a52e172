"""Looking at something once, for all threads together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Once:
    """What has been looked at, by name. Each is looked at when it is asked for first; others wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, Any] = {}

    def __call__(self, what: str, look: Callable[[], Any]) -> Any:
        """Return what `look` has returned for this name."""
        with self._lock:
            if what not in self._known:
                self._known[what] = look()
            return self._known[what]
