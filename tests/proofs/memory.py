"""How much memory the web server takes while something happens."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from tests.stack import Stack

PAUSE_SECONDS = 0.1
MEDIA = "child_main.py"  # looks at files; it has limits of its own (app/lib/child.py) and is there for seconds


class Memory:
    """The web server's resident memory: master and web processes together, in bytes.

    `idle` is what it had before, `most` the largest sum seen, also right after its restart. `most_with_media` counts
    the children that look at files as well. Pages that processes share are counted for each.
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
        own = media = 0
        for process in web_processes(self._stack):
            try:
                size, is_media = process.memory_info().rss, MEDIA in " ".join(process.cmdline())
            except psutil.Error:
                continue
            own, media = (own, media + size) if is_media else (own + size, media)
        return own, own + media


def web_processes(stack: Stack) -> list[psutil.Process]:
    """The web server's processes and all their children."""
    found: dict[int, psutil.Process] = {}
    for process in stack.processes("gunicorn"):
        found[process.pid] = process
        try:
            found |= {child.pid: child for child in process.children(recursive=True)}
        except psutil.Error:
            continue
    return list(found.values())


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
