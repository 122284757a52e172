"""All live sockets of one process: who watches what, and what must be rendered when.

A change is rendered once for all sockets that watch it: at once when the last rendering is at least 100 ms old,
otherwise when it is, so that any number of changes costs at most ten renderings a second.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from uuid import UUID

from app.lib.ids import parse_id
from app.live import admission
from app.live.bus import EVERYTHING, PERSON, Publisher
from app.live.connection import POLICY_VIOLATION, Connection
from app.live.listener import Listener
from app.live.rendering import Payload, RenderFailed, render
from app.live.scheduler import Scheduler
from app.live.topics import Name
from app.web import Throughline

RENDER_THREADS = 4
RENDER_EVERY_SECONDS = 0.1
REUSE_SECONDS = 1.0  # a rendering so young is a good enough snapshot for whoever connects
RETRY_SECONDS = 2.0
MAX_RETRIES = 30
SOCKETS_PER_PERSON = 100

hubs: weakref.WeakSet[Hub] = weakref.WeakSet()


@dataclass(eq=False, slots=True)
class _Channel:
    """One name that is watched now. `state` is idle, due or rendering."""

    name: Name
    connections: set[Connection] = field(default_factory=set)
    state: str = "idle"
    is_dirty: bool = False  # changed since the rendering under way began
    started_at: float = float("-inf")
    payload: Payload | None = None
    failures: int = 0


class Hub:
    """The sockets of one app in this process. Threads start with the first socket, again after a fork."""

    def __init__(self, app: Throughline) -> None:
        self._app = app
        self.publisher = Publisher(app.settings)
        self.check_seconds = 30.0
        self.sockets_per_person = SOCKETS_PER_PERSON
        self.renderings: Counter[str] = Counter()
        self._reset()
        hubs.add(self)

    def _reset(self) -> None:
        self._pid = 0
        self._lock = threading.Lock()
        self._connections: set[Connection] = set()
        self._channels: dict[Name, _Channel] = {}
        self._by_topic: defaultdict[str, set[_Channel]] = defaultdict(set)
        self._scheduler = Scheduler(RENDER_THREADS)
        self._listener = Listener(self._app.settings, self.changed)

    def start(self) -> None:
        """Start the threads unless they run in this process already."""
        if self._pid == os.getpid():
            return
        if self._pid:
            self._reset()  # a fork copied the books of another process, but none of its threads
        with self._lock:
            if self._pid:
                return
            self._pid = os.getpid()
            self._scheduler.start()
            self._listener.start()
            self._scheduler.at(monotonic() + self.check_seconds, self._check_all)

    def stop(self) -> None:
        """Close every socket and end the threads (tests; a process simply exits)."""
        self.close_all(1001)
        self._listener.stop()
        self._scheduler.stop()
        self._reset()

    def wait_until_idle(self, timeout_seconds: float) -> bool:
        """Wait for the renderings under way; return whether they ended in time. With no socket open none follows."""
        return self._scheduler.wait_until_idle(timeout_seconds)

    def close_all(self, code: int) -> None:
        """Let every socket end with `code`."""
        for connection in tuple(self._connections):
            connection.close(code)

    def count(self, user_id: UUID | None = None) -> int:
        """Return how many sockets are open, of one person or of all."""
        with self._lock:
            return sum(user_id is None or each.visitor.user_id == user_id for each in self._connections)

    def join(self, connection: Connection) -> None:
        """Add a socket; each of its topics is sent soon, as the snapshot."""
        self.start()
        with self._lock:
            self._connections.add(connection)
            for name in connection.names:
                channel = self._channels.get(name)
                if channel is None:
                    channel = self._channels[name] = _Channel(name)
                    self._by_topic[name.topic].add(channel)
                channel.connections.add(connection)
                young = channel.state == "idle" and monotonic() - channel.started_at < REUSE_SECONDS
                if young and channel.payload:
                    connection.push(name, channel.payload)
                else:
                    self._mark(channel)

    def leave(self, connection: Connection, names: Iterable[Name] | None = None) -> None:
        """Remove a socket, or only some of what it watches."""
        with self._lock:
            if names is None:
                self._connections.discard(connection)
            for name in tuple(connection.names if names is None else names):
                connection.names.discard(name)
                channel = self._channels.get(name)
                if channel is None:
                    continue
                channel.connections.discard(connection)
                if not channel.connections:
                    self._forget(channel)

    def changed(self, topics: list[str]) -> None:
        """Hear that `topics` changed (from the listener)."""
        is_all = EVERYTHING in topics
        people = {parse_id(topic.removeprefix(PERSON)) for topic in topics if topic.startswith(PERSON)}
        if people or is_all:
            # Messages may have been lost, so with EVERYTHING a sign-out too.
            self._scheduler.at(monotonic(), partial(self._check, None if is_all else people))
        with self._lock:
            found = self._channels.values() if is_all else self._channels_of(topics)
            for channel in tuple(found):
                self._mark(channel)

    def _channels_of(self, topics: list[str]) -> set[_Channel]:
        return set().union(*(self._by_topic[topic] for topic in topics if topic in self._by_topic))

    def _forget(self, channel: _Channel) -> None:
        del self._channels[channel.name]
        same_topic = self._by_topic[channel.name.topic]
        same_topic.discard(channel)
        if not same_topic:
            del self._by_topic[channel.name.topic]

    def _mark(self, channel: _Channel, after: float = 0.0) -> None:
        # The caller holds the lock. A channel that is due reads the database later than now: nothing to do.
        if channel.state == "rendering":
            channel.is_dirty = True
        elif channel.state == "idle":
            channel.state = "due"
            now = monotonic()
            when = max(now + after, channel.started_at + RENDER_EVERY_SECONDS)
            self._scheduler.at(when, partial(self._render, channel))

    def _render(self, channel: _Channel) -> None:
        with self._lock:
            if not channel.connections:
                channel.state = "idle"
                return
            channel.state, channel.is_dirty, channel.started_at = "rendering", False, monotonic()
        try:
            payload, is_failed = render(self._app, channel.name), False
        except RenderFailed:
            payload, is_failed = None, True
        with self._lock:
            self.renderings[str(channel.name)] += 1
            channel.payload = payload
            targets = tuple(channel.connections)
        # The channel stays "rendering" until all have it, so that a newer rendering cannot be overtaken by this one.
        if payload:
            for connection in targets:
                connection.push(channel.name, payload)
        with self._lock:
            channel.state = "idle"
            channel.failures = channel.failures + 1 if is_failed else 0
            if channel.is_dirty:
                self._mark(channel)
            elif is_failed and channel.failures <= MAX_RETRIES:
                self._mark(channel, after=RETRY_SECONDS)

    def _check_all(self) -> None:
        try:
            self._check(None)
        finally:
            self._scheduler.at(monotonic() + self.check_seconds, self._check_all)

    def _check(self, people: set[UUID | None] | None) -> None:
        """Ask again who may see what; `people`: only their sockets."""
        chosen = [each for each in tuple(self._connections) if people is None or each.visitor.user_id in people]
        for connection, allowed in admission.check_again(self._app, chosen):
            if allowed is None:
                connection.close(POLICY_VIOLATION)
            elif refused := connection.names - allowed:
                self.leave(connection, refused)
