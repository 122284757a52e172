"""One browser's socket: what it watches, what waits to be sent, and the loop that sends it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from simple_websocket import ConnectionClosed

from app.live.rendering import Payload
from app.live.topics import Name

SEND_SECONDS = 20.0  # a browser that takes nothing for so long is disconnected
ANSWER_SECONDS = 1.0  # how long a browser may take to answer that we close
POLICY_VIOLATION = 1008  # hx-ws does not come back after it
SERVICE_RESTART = 1012  # hx-ws comes back at once


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who opened a socket: enough to ask again later whether they are still signed in."""

    user_id: UUID
    headers: tuple[tuple[str, str], ...] = field(repr=False)  # what signed them in at the handshake
    address: str
    token: str = field(repr=False)  # the form token of their session, or "" when it has none


class AtomicSocket:
    """A socket whose `send` sends all of it, one caller at a time and within a time limit.

    simple-websocket calls `send` from two threads (messages, pings) and ignores how much was taken: with a slow
    reader messages would be cut or mixed.
    """

    def __init__(self, inner: socket.socket) -> None:
        inner.settimeout(SEND_SECONDS)
        self.when_closed: Callable[[], None] = lambda: None
        self._inner = inner
        self._lock = threading.Lock()

    def send(self, data: bytes) -> int:
        """Send all of `data`.

        Raises:
            OSError: the other side is gone or took nothing for `SEND_SECONDS`; the socket is then of no more use.
        """
        with self._lock:
            try:
                self._inner.sendall(data)
            except OSError:
                self.abort()
                raise
        return len(data)

    def abort(self) -> None:
        """End the connection without a word; the thread that reads wakes up."""
        with contextlib.suppress(OSError):
            self._inner.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close, and say so: simple-websocket's reading thread ends with this, sometimes without another sign."""
        self.abort()
        self._inner.close()
        self.when_closed()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Discard(list[Any]):
    """An input buffer that keeps nothing: browsers have nothing to say here, and must not fill our memory."""

    def append(self, _message: object) -> None:
        """Drop the message."""


class Connection:
    """A socket with an outbox that holds at most the newest fragment of each topic.

    So a slow browser skips states, the memory is bounded by its (at most 60) topics, and whoever pushes never waits.
    """

    def __init__(self, ws: Any, visitor: Visitor, names: tuple[Name, ...]) -> None:
        ws.input_buffer = _Discard()
        ws.sock.when_closed = ws.event.set
        self._ws = ws
        self.visitor = visitor
        self.names = set(names)
        self._lock = threading.Lock()
        self._outbox: dict[Name, Payload] = {}
        self._close_code: int | None = None

    def push(self, name: Name, payload: Payload) -> None:
        """Let `payload` be sent soon, instead of an older one of the same name. Never blocks."""
        with self._lock:
            self._outbox[name] = payload
        self._ws.event.set()

    def close(self, code: int) -> None:
        """Let the connection end with `code`. Never blocks."""
        self._close_code = code
        self._ws.event.set()

    def waiting(self) -> int:
        """Return how many fragments wait to be sent."""
        return len(self._outbox)

    def serve(self) -> None:
        """Send what is pushed until either side closes. Only this thread sends messages."""
        try:
            while self._ws.connected and self._close_code is None:
                self._ws.event.wait()
                self._ws.event.clear()
                self._send_waiting()
            if self._ws.connected:
                self._ws.close(self._close_code)
                # The thread that reads takes the browser's answer; the server would take it for a request.
                self._ws.thread.join(ANSWER_SECONDS)
        except (ConnectionClosed, OSError):
            self._ws.connected = False
        finally:
            self._ws.sock.abort()

    def _send_waiting(self) -> None:
        while self._close_code is None:
            with self._lock:
                name = next(iter(self._outbox), None)
                if name is None:
                    return
                payload = self._outbox.pop(name)
            self._ws.send(payload.for_session(self.visitor.token))
