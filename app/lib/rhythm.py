"""Several things on one thread, each in a rhythm of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager


def keep_doing(
    things: Sequence[tuple[float, Callable[[], object]]],
    stop: threading.Event,
    *,
    tick: float,
    is_over: Callable[[], bool],
    wall: Callable[[], AbstractContextManager[None]],
) -> None:
    """Do each thing every so many seconds, until `stop` is set and `is_over()`.

    Args:
        things: seconds and what to do, in the order in which it is done. One that is missed is made up for when it is
            due the next time.
        stop: asks for the end.
        tick: seconds between two looks at what is due.
        is_over: whether the end may come.
        wall: a block for each look, which lets no error out: what one thing raises keeps those behind it from this one.
    """
    due = [time.monotonic()] * len(things)
    while not (stop.wait(tick) and is_over()):
        now = time.monotonic()
        with wall():
            for number, (every, do) in enumerate(things):
                if now >= due[number]:
                    due[number] = now + every
                    do()
        if stop.is_set():
            time.sleep(tick)
