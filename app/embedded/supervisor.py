"""Keep the parts of an instance running: start in order, restart what crashes, stop in the reverse order."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from app.embedded.errors import CannotStart
from app.embedded.parts import Part
from app.embedded.signals import Signals

QUICK_SECONDS = 10.0  # a part that ends sooner than this after its start crashed "at once"
QUICK_ENDINGS = 5  # so many in a row, and we give up
LONGEST_PAUSE_SECONDS = 5.0


@dataclass
class _Watched:
    part: Part
    started_at: float
    quick_endings: int = 0
    restart_at: float | None = None


@dataclass
class Supervisor:
    """Runs parts. `say` tells the person at the terminal, `note` is called after every start of a part."""

    signals: Signals
    say: Callable[[str], None]
    note: Callable[[list[Part]], None]
    _watched: list[_Watched] = field(default_factory=list, init=False)

    def start(self, part: Part) -> None:
        """Start `part` and watch it from now on."""
        self.signals.check()
        # Watched first: a start that fails half-way is still stopped with the others.
        self._watched.append(_Watched(part, time.monotonic()))
        part.start()
        self._note()

    def watch(self) -> None:
        """Watch the parts until somebody asks to stop (raises Stop).

        Raises:
            CannotStart: a part crashes at once, or cannot start, whenever it is started again.
        """
        while True:
            self.look()
            self.signals.wait(self._pause())

    def look(self) -> None:
        """Look at every part once: say what ended, start again what is due."""
        for watched in self._watched:
            if watched.restart_at is None:
                self._judge(watched)
            if watched.restart_at is not None and watched.restart_at <= time.monotonic():
                self._restart(watched)

    def stop(self) -> None:
        """Stop all parts, the last started first; a second request to stop kills."""
        while self._watched:
            part = self._watched.pop().part
            if not part.stop(self._is_hurried) and not self._is_hurried():
                self.say(f"The {part.name} did not stop in time and was killed; unfinished work goes on at next start.")

    def _is_hurried(self) -> bool:
        return self.signals.stops > 1

    def _judge(self, watched: _Watched) -> None:
        ending = watched.part.ending()
        if ending is not None:
            self._start_later(watched, "crashed", ending)

    def _start_later(self, watched: _Watched, what: str, why: str) -> None:
        lived = time.monotonic() - watched.started_at
        watched.quick_endings = watched.quick_endings + 1 if lived < QUICK_SECONDS else 1
        name = watched.part.name
        if watched.quick_endings >= QUICK_ENDINGS:
            raise CannotStart(
                f"The {name} crashed {watched.quick_endings} times right after its start (last: {why}). "
                "The lines above say why; mend that, then start Throughline again."
            )
        pause = min(LONGEST_PAUSE_SECONDS, 0.25 * 4 ** (watched.quick_endings - 1))
        self.say(f"The {name} {what} ({why}); starting it again.")
        watched.restart_at = time.monotonic() + pause

    def _restart(self, watched: _Watched) -> None:
        watched.restart_at, watched.started_at = None, time.monotonic()
        try:
            watched.part.start()
        except CannotStart as error:  # a database whose disk is full just now, for example
            watched.part.stop(lambda: True)
            self._start_later(watched, "did not start", str(error).rstrip("."))
        self._note()

    def _pause(self) -> float:
        due = [watched.restart_at for watched in self._watched if watched.restart_at is not None]
        # A child's end wakes us; the second is for a database that stops being ours without one.
        return max(0.01, min([1.0, *(at - time.monotonic() for at in due)]))

    def _note(self) -> None:
        self.note([watched.part for watched in self._watched])
