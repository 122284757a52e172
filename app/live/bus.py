"""Telling all web processes what changed: a few bytes on Redis pub/sub.

A message is the changed topics, one a line. It may be lost without harm to the data: a page shows the newest state
whenever it connects. A lost or hung Redis costs a request at most 250 ms once, then nothing: until Redis answers
again the topics are kept and sent by a thread in the background.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import cast
from uuid import UUID

import redis
from flask import Flask, current_app

from app import db, log
from app.extensions import redis_client
from app.settings import Settings

logger = log.get(__name__)

EXTENSION = "throughline.live"
EVERYTHING = "*"  # the topic that means: render all
PERSON = "person:"  # `person:<id>` means: look again what this person's sockets may see
MAX_KEPT = 10_000  # topics kept while Redis is away; beyond that one EVERYTHING says the same
PAUSE_SECONDS = 1.0  # how long a lost Redis is left alone


def channel_of(settings: Settings) -> str:
    """Return the Redis channel of this instance."""
    return f"{settings.redis_namespace}:live"


class Publisher:
    """Publishes topics from one process; safe to use from many threads."""

    def __init__(self, settings: Settings) -> None:
        self._channel = channel_of(settings)
        self._client = redis_client(settings)
        self._lock = threading.Lock()
        self._kept: dict[str, None] = {}
        self._is_away = False

    def publish(self, topics: Iterable[str]) -> None:
        """Publish `topics` now, in one message. Never raises and never waits longer than 250 ms."""
        wanted = dict.fromkeys(topics)
        if not wanted:
            return
        with self._lock:
            if self._is_away:
                self._keep(wanted)
                return
        if not self._send(wanted):
            self._wait_for_redis(wanted)

    def _send(self, topics: Iterable[str]) -> bool:
        try:
            self._client.publish(self._channel, "\n".join(topics))
        except (redis.RedisError, OSError) as error:
            logger.warning("live.publish_failed", error=type(error).__name__)
            return False
        return True

    def _keep(self, topics: dict[str, None]) -> None:
        self._kept.update(topics)
        if len(self._kept) > MAX_KEPT:
            self._kept = {EVERYTHING: None}

    def _wait_for_redis(self, topics: dict[str, None]) -> None:
        with self._lock:
            self._keep(topics)
            if self._is_away:
                return
            self._is_away = True
        threading.Thread(target=self._send_when_back, name="live-publish-again", daemon=True).start()

    def _send_when_back(self) -> None:
        while True:
            time.sleep(PAUSE_SECONDS)
            with self._lock:
                topics, self._kept = self._kept, {}
            is_sent = self._send(topics or {EVERYTHING: None})
            with self._lock:
                if not is_sent:
                    self._keep(topics)
                elif not self._kept:
                    self._is_away = False
                    return


class _AfterCommit:
    """The hook of one transaction: all its topics go out in one message."""

    def __init__(self, send: Callable[[Iterable[str]], None]) -> None:
        self.topics: dict[str, None] = {}
        self._send = send

    def __call__(self) -> None:
        self._send(self.topics)


def publisher(app: Flask) -> Callable[[Iterable[str]], None]:
    """Return a `publish` of `app` that needs no app context (the engine's port)."""
    return cast("Publisher", app.extensions[EXTENSION].publisher).publish


def publish(topics: Iterable[str]) -> None:
    """Tell all web processes now that `topics` (such as `video:<id>`) changed."""
    publisher(current_app)(topics)


def touch(topic: str) -> None:
    """Tell all web processes that `topic` changed, once the current transaction has committed."""
    session = db.db.session()
    hook = session.info.get("after_commit", {}).get("live")
    if not isinstance(hook, _AfterCommit):
        hook = _AfterCommit(publisher(current_app))
        db.after_commit("live", hook, session)
    hook.topics[topic] = None


def recheck(user_id: UUID) -> None:
    """Look again, after the commit, what this person's sockets may see: call it at sign-out and revocation."""
    touch(f"{PERSON}{user_id}")
