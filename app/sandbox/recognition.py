"""The pool of recogniser processes: started when first needed, about one for each core."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from app.sandbox.errors import ApiError

TIMEOUT_SECONDS = 1800.0
REMEMBERED = 64


@dataclass(frozen=True)
class Heard:
    """What was recognised: the sound's length in seconds, and (word, start, end, confidence) in order."""

    duration: float
    words: tuple[tuple[str, float, float, float], ...]


class Recognition:
    """Recognises sound on at most `processes` cores; further callers wait their turn, first come, first served."""

    def __init__(self, processes: int | None = None) -> None:
        self._idle: queue.Queue[subprocess.Popen[bytes] | None] = queue.Queue()
        self._children: set[subprocess.Popen[bytes]] = set()
        # The same sound always gives the same words, so the last answers are kept (a few kilobytes each).
        self._heard: OrderedDict[bytes, Heard] = OrderedDict()
        for _ in range(processes or os.cpu_count() or 1):
            self._idle.put(None)  # a place whose process has not been started yet
        atexit.register(self.close)

    def recognise(self, content: bytes) -> Heard:
        """Return the words of an audio file.

        Raises:
            ApiError: 400 when it cannot be decoded, 500 when the recogniser broke on it.
        """
        key = hashlib.sha256(content).digest()
        heard = self._heard.get(key) or self._recognise(content)
        self._heard[key] = heard
        while len(self._heard) > REMEMBERED:
            self._heard.popitem(last=False)
        return heard

    def _recognise(self, content: bytes) -> Heard:
        child = self._idle.get()
        try:
            if child is None or child.poll() is not None:
                child = self._start()
            answer = self._ask(child, content)
        except (OSError, ValueError) as error:
            self._stop(child)
            child = None
            raise ApiError(500, "The recogniser broke on this file.", kind="server_error") from error
        finally:
            self._idle.put(child)
        if "error" in answer:
            raise ApiError(400, f"Invalid file format. {answer['error']}", param="file", code="invalid_file_format")
        return Heard(answer["duration"], tuple((w, s, e, c) for w, s, e, c in answer["words"]))

    def close(self) -> None:
        """End every process."""
        for child in list(self._children):
            self._stop(child)
        atexit.unregister(self.close)

    def _start(self) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            [sys.executable, "-m", "app.sandbox.recogniser"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._children.add(child)
        return child

    def _ask(self, child: subprocess.Popen[bytes], content: bytes) -> dict[str, Any]:
        if child.stdin is None or child.stdout is None:
            raise ValueError("The recogniser has no pipes.")
        limit = threading.Timer(TIMEOUT_SECONDS, child.kill)  # a hung decoder ends its pipe, which ends the wait
        limit.daemon = True
        limit.start()
        try:
            child.stdin.write(len(content).to_bytes(8) + content)
            child.stdin.flush()
            answer: dict[str, Any] = json.loads(child.stdout.readline())
            return answer
        finally:
            limit.cancel()

    def _stop(self, child: subprocess.Popen[bytes] | None) -> None:
        if child is None:
            return
        self._children.discard(child)
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was not yet written has no reader any more
                    pipe.close()
