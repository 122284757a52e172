"""Start a child process that never outlives us, and end those which a crashed start left behind.

On Linux the kernel sends a child its death signal when the process that started it dies, however it dies
(prctl PR_SET_PDEATHSIG). Elsewhere, and for what ignores that signal, the next start finds the left-over
by its process id and its time of birth.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

from app.embedded import accounts

PR_SET_PDEATHSIG = 1
LOOK_SECONDS = 0.1  # how often a wait for an ending looks whether somebody is in a hurry
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded now: nothing may be loaded after a fork


def spawn(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    output: IO[bytes] | int | None = None,
    death_signal: int = signal.SIGTERM,
    pass_fds: Sequence[int] = (),
    as_service: bool = False,
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own (Ctrl-C reaches only us, and we stop the rest in order).

    `output` takes both its streams (None: ours; subprocess.PIPE: the caller's to read). `as_service` drops root for
    the service account. Must be called from the main thread: the kernel watches the thread that forked, not the
    process.
    """
    return subprocess.Popen(  # noqa: S603  (our own programs and arguments)
        list(command),
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
        pass_fds=tuple(pass_fds),
        start_new_session=True,
        preexec_fn=_die_with_parent(death_signal),  # noqa: PLW1509  (one prctl, no lock taken)
        **(accounts.popen_identity() if as_service else {}),
    )


def never() -> bool:
    """Return False: nobody is in a hurry."""
    return False


def end(process: subprocess.Popen[bytes], sign: int, seconds: float, is_hurried: Callable[[], bool] = never) -> bool:
    """Send `sign`, wait up to `seconds` or until somebody is in a hurry, then kill its whole session.

    Tells whether it went by itself.
    """
    went = ask(process, sign, seconds, is_hurried)
    kill_session(process.pid)
    process.wait()
    return went


def ask(process: subprocess.Popen[bytes], sign: int, seconds: float, is_hurried: Callable[[], bool] = never) -> bool:
    """Send `sign` and wait up to `seconds` or until somebody is in a hurry; tell whether it went."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(sign)
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline and not is_hurried():
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(LOOK_SECONDS)
    return process.poll() is not None


def kill_session(pid: int) -> None:
    """Kill what is left of the process group that `pid` leads (its own children, when it is gone itself)."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def end_session_of(pid: int, seconds: float = 10.0) -> None:
    """Kill what is left of the process group that `pid` led, and wait until it is gone (its sockets are free then)."""
    deadline = time.monotonic() + seconds
    with contextlib.suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < deadline:
            os.killpg(pid, signal.SIGKILL)
            time.sleep(0.02)


def born(pid: int) -> float:
    """Return when the process `pid` was made, in seconds since 1970; 0 when there is none."""
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return 0.0


def find(pid: int, *, name: str, cwd: Path) -> psutil.Process | None:
    """Return the process `pid` when it is the program `name` working in `cwd`, not another that got its number."""
    try:
        process = psutil.Process(pid)
        matches = process.name().startswith(name) and Path(process.cwd()) == cwd.resolve()
    except (psutil.Error, OSError):
        return None
    return process if matches else None


def find_all(*, name: str, cwd: Path) -> list[psutil.Process]:
    """Find every process that is the program `name` working in `cwd`."""
    found = (find(process.pid, name=name, cwd=cwd) for process in psutil.process_iter(["name"]))
    return [process for process in found if process is not None]


def end_found(process: psutil.Process, sign: int, seconds: float) -> None:
    """End a process that is not our child: `sign` first, after `seconds` for good."""
    with contextlib.suppress(psutil.Error):
        process.send_signal(sign)
        try:
            process.wait(seconds)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(5)


def _die_with_parent(death_signal: int) -> Callable[[], None]:
    parent = os.getpid()

    def prepare() -> None:
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
            if os.getppid() != parent:  # it died between the fork and the line above
                os._exit(1)

    return prepare
