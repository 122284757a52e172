"""A state that changes often and is written now and then."""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from typing import Any


class Latest(ABC):
    """Whoever writes the state takes the newest, so changing it is cheap.

    While it is not `is_caught_up`, the state is on its way to one that has been written before, and older.
    """

    def __init__(self, *, is_said: bool = False) -> None:
        """`is_said`: there was a state before this one."""
        self._lock = threading.Lock()
        self._is_said, self._is_dirty = is_said, False
        self.is_caught_up = True

    @abstractmethod
    def _state(self) -> Any:
        """Return what is to be written, for JSON; called under the lock."""

    def _say(self) -> None:
        """Note that the state has changed; call it under the lock."""
        self._is_dirty = self._is_said = True

    def take(self) -> str | None:
        """Return the newest state as JSON if it has not been written yet."""
        with self._lock:
            if not (self._is_dirty and self.is_caught_up):
                return None
            self._is_dirty = False
            return json.dumps(self._state(), default=str)

    def last(self, *, is_whole: bool = True) -> str | None:
        """Return the newest state as JSON, unless there never was any: for the last write of all.

        Also what has been taken: whoever took it may not have written it yet, and after this it cannot. `is_whole`: the
        state has caught up, if ever it does.
        """
        with self._lock:
            is_known = self._is_said and (is_whole or self.is_caught_up)
            return json.dumps(self._state(), default=str) if is_known else None

    def put_back(self) -> None:
        """Mark the state as not written after all."""
        with self._lock:
            self._is_dirty = self._is_said
