"""Fork children for orders, from a process that has loaded everything and has a single thread.

A process with threads must not fork: a lock that another thread holds at that moment is locked in the child for ever.
So a zygote is forked first, before there are threads or open connections; it does nothing but fork and watch. Its
children each

- are a process group of their own, which is killed as a whole when they end,
- may have limits of memory (RLIMIT_DATA) and processor time,
- die with the zygote, which dies with the process that made it, however that dies (on Linux; elsewhere not when the
  zygote itself is killed with SIGKILL).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import itertools
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
SPARE_SECONDS = 5  # of processor time between SIGXCPU, which a process may ignore, and its end
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded now: nothing may be loaded after a fork
Work = Callable[[Any], int]


class Child:
    """A child that was asked for."""

    def __init__(self, send_signal: Callable[[int], None]) -> None:
        self.signal = send_signal
        self._code = 0
        self._has_ended = threading.Event()

    def wait(self, seconds: float | None = None) -> int | None:
        """Return its exit code, negative when a signal has ended it; None when it runs on after `seconds`."""
        return self._code if self._has_ended.wait(seconds) else None

    def see_out(
        self, stop: threading.Event, is_overdue: Callable[[], bool | None], *, grace: float, every: float = 0.5
    ) -> bool:
        """Wait until it has ended; returns whether it had to be killed.

        Args:
            stop: once this is set, it is asked to stop (SIGTERM).
            is_overdue: whether it should be about to end by itself; None when that cannot be said now.
            grace: the seconds for which it may be overdue.
            every: seconds between two looks.
        """
        overdue_since: float | None = None
        while self.wait(every) is None:
            if stop.is_set():
                self.signal(signal.SIGTERM)  # again and again: it may not have been listening yet
            overdue = is_overdue()
            if overdue is False:
                overdue_since = None
            elif overdue:
                overdue_since = overdue_since or time.monotonic()
                if time.monotonic() - overdue_since > grace:
                    self.signal(signal.SIGKILL)
                    self.wait()
                    return True
        return False

    def end(self, code: int) -> None:
        """Note how it has ended (the zygote says so)."""
        self._code = code
        self._has_ended.set()


class Zygote:
    """The side of the process that gives the orders; its threads may share it."""

    def __init__(self, work: Work, prepare: Callable[[], object]) -> None:
        """Fork the zygote.

        Args:
            work: what a child does with its order; returns its exit code.
            prepare: what it does before it has one. One child is always ready, so that an order need not wait.
        """
        self._line, there = Pipe()
        us = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self._line.close()
                die_with(us)
                _Forking(there, work, prepare).serve()
            finally:
                os._exit(0)  # whatever happens, this copy of our caller must not go on
        there.close()
        self._lock = threading.Lock()
        self._children: dict[int, Child] = {}
        self._tickets = itertools.count()
        self._listener = threading.Thread(target=self._listen, name="zygote", daemon=True)

    def start(self) -> None:
        """Begin to hear how children end: from here on this process has threads."""
        self._listener.start()

    def fork(self, order: Any, *, memory_bytes: int | None = None, cpu_seconds: int | None = None) -> Child:
        """Have a child do `order` (anything that can be pickled).

        Args:
            order: what its work is called with.
            memory_bytes: private memory that it may use beyond what is loaded already.
            cpu_seconds: processor time that it may use, over all its threads.
        """
        ticket = next(self._tickets)
        child = Child(lambda number: self._say("signal", ticket, number))
        with self._lock:
            self._children[ticket] = child
        self._say("fork", ticket, order, memory_bytes, cpu_seconds)
        return child

    def is_alive(self) -> bool:
        """Tell whether it can fork."""
        return self._listener.is_alive()

    def kill_children(self) -> None:
        """Kill every child that has an order."""
        with self._lock:
            children = list(self._children.values())
        for child in children:
            child.signal(signal.SIGKILL)

    def close(self) -> None:
        """Kill what is left of its children, and end it."""
        with contextlib.suppress(ProcessLookupError):
            self._say("end")
            os.waitpid(self.pid, 0)

    def _say(self, *words: Any) -> None:
        try:
            with self._lock:
                self._line.send(words)
        except OSError:
            self._all_ended()

    def _listen(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                ticket, code = self._line.recv()
                with self._lock:
                    child = self._children.pop(ticket)
                child.end(code)
        self._all_ended()

    def _all_ended(self) -> None:
        """The zygote is gone, and its children with it."""
        with self._lock:
            children, self._children = self._children, {}
        for child in children.values():
            child.end(-signal.SIGKILL)


def how_ended(code: int) -> str:
    """Say in a sentence how a child ended without being asked to."""
    if code == -signal.SIGXCPU:
        return "Its process used more processor time than it may, and was killed by SIGXCPU."
    if code == -signal.SIGKILL:
        return "Its process was killed by SIGKILL, perhaps by the system for want of memory."
    if code < 0:
        return f"Its process was killed by {signal.Signals(-code).name}."
    return f"Its process ended by itself, with code {code}."


def die_with(parent: int, number: int = signal.SIGKILL) -> None:
    """Have the kernel send this process, just forked, a signal when the thread that forked it ends (Linux)."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:  # it had ended before the line above stood
        os._exit(1)


class _Forking:
    """The zygote itself: obeys until the other side is gone; then kills every child, and ends."""

    def __init__(self, line: Connection, work: Work, prepare: Callable[[], object]) -> None:
        self._line, self._work, self._prepare = line, work, prepare
        self._tickets: dict[int, int] = {}  # process id -> ticket
        self._spare: tuple[int, Connection] | None = None
        self._ear, mouth = os.pipe()
        os.set_blocking(mouth, False)
        signal.set_wakeup_fd(mouth, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # whoever gives the orders says when it is over
        self._inherited = [line.fileno(), self._ear, mouth]
        gc.freeze()  # what is loaded stays shared: a collection in a child would copy all of its pages

    def serve(self) -> None:
        """Fork and report."""
        with contextlib.suppress(EOFError, OSError):
            self._spare = self._fork()
            while True:
                ready = wait([self._line, self._ear])
                if self._ear in ready:
                    os.read(self._ear, 4096)
                if self._line in ready:
                    self._obey(*self._line.recv())
                self._reap()
        for pid in [*self._tickets, *([self._spare[0]] if self._spare else [])]:
            _kill_group(pid)

    def _obey(self, word: str, *rest: Any) -> None:
        if word == "end":
            raise EOFError
        ticket, *order = rest
        if word == "signal":
            self._signal(ticket, *order)
            return
        pid, line = self._spare or self._fork()
        self._tickets[pid] = ticket
        with line, contextlib.suppress(OSError):  # it may just have died; that is then how its work ended
            line.send(order)
        self._spare = self._fork()

    def _signal(self, ticket: int, number: int) -> None:
        for pid, its in self._tickets.items():
            if its == ticket:  # else it has ended
                if number == signal.SIGKILL:
                    _kill_group(pid)
                else:
                    os.kill(pid, number)  # not yet waited for: the number is still its own

    def _reap(self) -> None:
        spare = self._spare
        for pid in [*self._tickets, *([spare[0]] if spare else [])]:
            found, status = os.waitpid(pid, os.WNOHANG)
            if not found:
                continue
            _kill_group(pid)  # what it started; the number is reserved while the group has members
            if spare is not None and pid == spare[0]:
                spare[1].close()
                self._spare = None  # the next order makes another
            else:
                self._line.send((self._tickets.pop(pid), os.waitstatus_to_exitcode(status)))

    def _fork(self) -> tuple[int, Connection]:
        """Fork a child that makes itself ready, and waits for its order."""
        zygote = os.getpid()
        orders, line = Pipe(duplex=False)
        pid = os.fork()
        if pid:
            orders.close()
            with contextlib.suppress(OSError):
                os.setpgid(pid, pid)  # on both sides: whoever comes first
            return pid, line
        code = 1
        try:
            die_with(zygote)
            with contextlib.suppress(OSError):
                os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            line.close()
            for descriptor in self._inherited:
                os.close(descriptor)
            self._prepare()
            order, memory_bytes, cpu_seconds = orders.recv()
            _limit(memory_bytes, cpu_seconds)
            code = int(self._work(order))
        except EOFError:
            code = 0  # the zygote is ending
        except BaseException:  # noqa: BLE001  (the wall of this process)
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)  # no thread is waited for


def _limit(memory_bytes: int | None, cpu_seconds: int | None) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory_bytes is not None:
        most = _data_bytes() + memory_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    if cpu_seconds is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + SPARE_SECONDS))


def _data_bytes() -> int:
    """Return how much private memory this process has already (0 where the system does not say)."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return 0


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
