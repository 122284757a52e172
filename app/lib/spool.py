"""Collecting what many threads add, and writing it in batches."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Spool(Generic[Item]):
    """Items that wait to be written: in order, by one thread at a time; kept when the writing fails.

    Args:
        write: writes a batch, whole or not at all.
        may_fail: its errors after which the batch is kept for the next flush; others are raised, and it is dropped.
    """

    def __init__(self, write: Callable[[list[Item]], None], may_fail: tuple[type[Exception], ...]) -> None:
        self._write, self._may_fail = write, may_fail
        self._items: list[Item] = []
        self._adding, self._writing = threading.Lock(), threading.Lock()

    def add(self, item: Item) -> None:
        """Add an item; cheap."""
        with self._adding:
            self._items.append(item)

    def flush(self) -> None:
        """Write what has gathered; when nothing has, this costs nothing."""
        if not self._items and not self._writing.locked():
            return
        with self._writing:  # also when another thread is writing the last of it: after this call it is written
            with self._adding:
                items, self._items = self._items, []
            try:
                if items:
                    self._write(items)
            except self._may_fail:
                with self._adding:
                    self._items[:0] = items
