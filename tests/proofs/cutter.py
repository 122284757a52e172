"""A TCP proxy on loopback that does something to the line when so many bytes have gone up through it."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator

BLOCK_BYTES = 1 << 16
RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time: closing sends a RST in place of a FIN
CUT = "cut"

What = str | Callable[[], object]


class Cutter:
    """Forwards to `port`; at each of `plan`'s byte counts it cuts that connection by a RST, or calls what is there.

    A call stops the connection that it happens on until it returns; the other ones go on.
    """

    def __init__(self, port: int, plan: list[tuple[int, What]]) -> None:
        self._port = port
        self._plan = sorted(plan, key=lambda each: each[0])
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.sent = 0
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def is_through(self) -> bool:
        """Tell whether the whole plan has been carried out."""
        return not self._plan

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        # One thread reads both sides: a socket that another thread reads from is not really closed by close().
        with client, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port)) as server:
            try:
                self._pump(client, server)
            except OSError:  # a side was reset: so is the other
                reset(client, server)

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        while True:
            for side in select.select([client, server], [], [])[0]:
                block = side.recv(BLOCK_BYTES)
                if not block:
                    return
                other[side].sendall(block)
                if side is client and not self._do(len(block)):
                    reset(client, server)
                    return

    def _do(self, count: int) -> bool:
        """Count bytes; do what is due; False: the connection is to be cut."""
        with self._lock:
            self.sent += count
            due = self._plan.pop(0)[1] if self._plan and self.sent >= self._plan[0][0] else None
            self.cuts += due == CUT
        if callable(due):
            due()
        return due != CUT


@contextlib.contextmanager
def cutting(port: int, plan: list[tuple[int, What]]) -> Iterator[Cutter]:
    """Run a proxy for the length of the block."""
    cutter = Cutter(port, plan)
    try:
        yield cutter
    finally:
        cutter.close()


def reset(*sides: socket.socket) -> None:
    """Cut connections as a broken line does: whoever reads or writes there gets an error."""
    for side in sides:
        with contextlib.suppress(OSError):
            side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        side.close()
