"""How much memory the web server takes while something happens."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from tests.stack import Stack

PAUSE_SECONDS = 0.1


class Memory:
    """The web server's resident memory: master and web processes together, in bytes.

    `idle` is what it had before, `most` the largest sum seen, also right after its restart. `most_with_media` counts
    the children that look at files as well (app/lib/child.py: they have limits of their own, and live for seconds).
    Pages that processes share are counted for each.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.idle, _ = self._look()
        self.most = self.most_with_media = self.idle
        self.samples = 0

    @property
    def growth(self) -> int:
        """How far it went above idle."""
        return self.most - self.idle

    def sample(self) -> None:
        """Look once."""
        own, with_media = self._look()
        self.most, self.most_with_media = max(self.most, own), max(self.most_with_media, with_media)
        self.samples += 1

    def _look(self) -> tuple[int, int]:
        masters = masters_of(self._stack)
        workers = [child for master in masters for child in children_of(master)]
        # A worker's child is a moment long a copy of the worker, before it becomes what looks at a file.
        media = [child for worker in workers for child in children_of(worker)]
        own = sum(map(_resident, [*masters, *workers]))
        return own, own + sum(map(_resident, media))


def masters_of(stack: Stack) -> list[psutil.Process]:
    """The web server's first process (none while it is being started again)."""
    assert stack.process is not None
    found = children_of(psutil.Process(stack.process.pid))
    return [process for process in found if "gunicorn" in _command(process)]


def children_of(process: psutil.Process, *, recursive: bool = False) -> list[psutil.Process]:
    """The children of a process, which may be gone."""
    try:
        return process.children(recursive=recursive)
    except psutil.Error:
        return []


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@contextmanager
def watching(stack: Stack) -> Iterator[Memory]:
    """Sample for the length of the block."""
    memory, over = Memory(stack), threading.Event()

    def watch() -> None:
        while not over.wait(PAUSE_SECONDS):
            memory.sample()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield memory
    finally:
        over.set()
        thread.join()
