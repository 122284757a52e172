"""A fixed number of threads, each of which is free or busy: whoever has work for them asks first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Slots:
    """Threads for work that must not queue: it is refused while all are busy, and once `stop` is set."""

    def __init__(self, threads: int, stop: threading.Event, name: str) -> None:
        self.threads, self.stop = threads, stop
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._free = threads
        self._changed = threading.Condition()

    def free(self) -> int:
        """Return how many threads have nothing to do."""
        with self._changed:
            return self._free

    def has_free_slot(self, timeout: float = 0.0) -> bool:
        """Wait up to `timeout` seconds for a free thread."""
        with self._changed:
            return self._changed.wait_for(lambda: self._free > 0, timeout)

    def is_idle(self, timeout: float = 0.0) -> bool:
        """Wait up to `timeout` seconds until no thread has anything to do."""
        with self._changed:
            return self._changed.wait_for(lambda: self._free == self.threads, timeout)

    def submit(self, work: Callable[..., object], *args: object) -> Future[None] | None:
        """Do `work(*args)` on a thread if one is free."""
        with self._changed:
            if self._free == 0 or self.stop.is_set():
                return None
            self._free -= 1
            return self.pool.submit(self._occupy, work, args)

    def shut(self) -> None:
        """Take no more work; what has been submitted begins all the same."""
        with self._changed:  # nobody is submitting
            self.pool.shutdown(wait=False)

    def failed(self, error: BaseException) -> None:
        """Say that work failed: a thread survives whatever its work did."""

    def freed(self) -> None:
        """Do what is to be done when a thread has become free."""

    def _occupy(self, work: Callable[..., object], args: tuple[object, ...]) -> None:
        try:
            work(*args)
        except BaseException as error:  # noqa: BLE001
            self.failed(error)
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()
            self.freed()
