"""Run one function in a killable child process with limits: what decodes hostile files or runs generated code.

The child is a fresh, isolated Python (`child_main.py`) that never imports the product: it gets its request as
JSON, answers with JSON, and has

- limits on memory (RLIMIT_DATA), processor time, wall time, file size and open files,
- no secrets (an empty environment), no capabilities, no way to gain privileges,
- no network, where the system lets an ordinary process make a network namespace of its own (most Linux systems;
  where not, `Answer.has_network` says so and the child runs all the same),
- a process group of its own, killed as a whole at the end, and it dies with the thread that waits for it.

Gaps: the child may read every file that the account running the server may read, and a grandchild that makes a
session of its own outlives the kill of the group (it keeps the limits).

Waiting is cooperative under gevent and blocks only the calling thread elsewhere.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

MAIN = Path(__file__).with_name("child_main.py")
GIB = 1024**3
# One thread for linear algebra: its pools would take 30 MB of the memory limit for each core of a big machine.
ENVIRONMENT = {"LANG": "C.UTF-8", "PATH": "/usr/bin:/bin", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
WATCH_SECONDS = 0.25


@dataclass(frozen=True)
class Limits:
    """What the child may use. Times in seconds, sizes in bytes."""

    wall_seconds: float = 60.0
    cpu_seconds: int = 60  # over all threads
    memory_bytes: int = GIB  # private writable memory, thread stacks included
    file_bytes: int = 4 * GIB  # the largest file it may write
    open_files: int = 64
    answer_bytes: int = 16 << 20  # the largest JSON answer


@dataclass(frozen=True)
class Answer:
    """What the function returned, and whether the system could not keep the child off the network."""

    value: Any
    has_network: bool


class ChildError(Exception):
    """The child gave no usable answer."""


class ChildTimeout(ChildError):
    """It used more wall or processor time than allowed and was killed."""


class ChildOutOfMemory(ChildError):
    """It asked for more memory than allowed."""


class ChildCrashed(ChildError):
    """It ended by a signal, without an answer, or with one that is too large or no JSON."""


class ChildRaised(ChildError):
    """The function raised; `kind` is the name of the exception's class, `code` its `code` or `errno` if any."""

    def __init__(self, kind: str, code: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind, self.code, self.message = kind, code, message


def call(
    target: Path, function: str, request: dict[str, Any], limits: Limits, watch: Callable[[], None] | None = None
) -> Answer:
    """Call `function(**request)` of the module or package at `target` in a child, and wait for its answer.

    Args:
        target: a .py file or a package folder, loaded by path under its own name (it cannot import `app`).
        function: the name of a function there, in a package `module.function`; arguments and result are JSON.
        request: the keyword arguments.
        limits: what the child may use.
        watch: called about four times a second meanwhile; when it raises, the child is killed and the error goes on.

    Raises:
        ChildTimeout, ChildOutOfMemory, ChildCrashed, ChildRaised: see there; nothing of the child is left running.
    """
    order = {
        "target": str(target),
        "function": function,
        "request": request,
        "limits": asdict(limits),
        "parent": os.getpid(),
    }
    # Files, not pipes: nothing can fill up, and an endless answer meets the file limit instead of our memory.
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write(json.dumps(order).encode())
        stdin.seek(0)
        code, is_late = _run(limits, stdin, stdout, stderr, watch)
        return _read(code, is_late=is_late, limits=limits, stdout=stdout, stderr=stderr)


def _run(
    limits: Limits, stdin: IO[bytes], stdout: IO[bytes], stderr: IO[bytes], watch: Callable[[], None] | None
) -> tuple[int, bool]:
    process = subprocess.Popen(  # noqa: S603  (our own interpreter and file)
        [sys.executable, "-I", str(MAIN)],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=ENVIRONMENT,
        start_new_session=True,
        close_fds=True,
    )
    try:
        if watch is not None:
            _watch(process, limits.wall_seconds, watch)
        return process.wait(limits.wall_seconds), False
    except subprocess.TimeoutExpired:
        return -signal.SIGKILL, True
    finally:
        _kill_group(process)


def _watch(process: subprocess.Popen[bytes], seconds: float, watch: Callable[[], None]) -> None:
    """Call `watch` until the process has ended.

    Raises:
        TimeoutExpired: it has not within `seconds`.
    """
    until = time.monotonic() + seconds
    while True:
        rest = until - time.monotonic()
        try:
            process.wait(max(0.0, min(WATCH_SECONDS, rest)))
        except subprocess.TimeoutExpired:
            if rest <= WATCH_SECONDS:
                raise
        else:
            return
        watch()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    # The group's number is the child's own; it stays reserved while the group has members, so nobody else is hit.
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    process.wait()


def _read(code: int, *, is_late: bool, limits: Limits, stdout: IO[bytes], stderr: IO[bytes]) -> Answer:
    if is_late:
        raise ChildTimeout(f"The child ran longer than {limits.wall_seconds:g} s.")
    if code == -signal.SIGXCPU:
        raise ChildTimeout(f"The child used more than {limits.cpu_seconds} s of processor time.")
    if stdout.seek(0, os.SEEK_END) > limits.answer_bytes:
        raise ChildCrashed(f"The child's answer is larger than {limits.answer_bytes} bytes.")
    stdout.seek(0)
    try:
        answer: dict[str, Any] = json.loads(stdout.read())
    except (ValueError, RecursionError):
        tail = _tail(stderr)
        if code == -signal.SIGKILL or "MemoryError" in tail or "Cannot allocate memory" in tail:
            raise ChildOutOfMemory(f"The child needed more than {limits.memory_bytes} bytes.") from None
        raise ChildCrashed(f"The child ended with {code} and no answer: {tail[-500:]}") from None
    if "raised" not in answer:
        return Answer(answer["value"], answer["has_network"])
    raised = answer["raised"]
    if raised["kind"] == "MemoryError":
        raise ChildOutOfMemory(f"The child needed more than {limits.memory_bytes} bytes.")
    raise ChildRaised(raised["kind"], raised["code"], raised["message"])


def _tail(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 2000))
    return file.read().decode("utf-8", "replace")
