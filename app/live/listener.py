"""The one Redis subscription of a web process."""

from __future__ import annotations

import threading
from collections.abc import Callable

import redis

from app import log
from app.extensions import redis_client
from app.live.bus import EVERYTHING, channel_of
from app.settings import Settings

logger = log.get(__name__)

QUIET_SECONDS = 5.0  # after so long without a message the connection must answer a ping in the same time
AGAIN_SECONDS = 0.5  # between two tries to reach Redis


class Listener:
    """Hears which topics changed and says so to `heard`, in a thread of its own."""

    def __init__(self, settings: Settings, heard: Callable[[list[str]], None]) -> None:
        self._settings = settings
        self._heard = heard
        self._stopping = threading.Event()
        self.has_subscribed = threading.Event()  # and has said that everything may have changed

    def start(self) -> None:
        """Start listening."""
        threading.Thread(target=self._run, name="live-listener", daemon=True).start()

    def stop(self) -> None:
        """Stop within `QUIET_SECONDS`."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except (redis.RedisError, OSError) as error:
                logger.warning("live.listener_lost", error=type(error).__name__)
                self._stopping.wait(AGAIN_SECONDS)

    def _listen(self) -> None:
        with redis_client(self._settings, blocks=True) as client:
            # A retry inside redis-py would wait up to ten seconds between tries; the loop above does it sooner.
            client.set_retry(redis.retry.Retry(redis.backoff.NoBackoff(), 0))
            with client.pubsub() as subscription:
                subscription.subscribe(channel_of(self._settings))
                self._read(subscription)

    def _read(self, subscription: redis.client.PubSub) -> None:
        is_waiting_for_pong = False
        while not self._stopping.is_set():
            message = subscription.get_message(timeout=QUIET_SECONDS)
            if message is None:
                if is_waiting_for_pong:
                    raise redis.TimeoutError("Redis no longer answers")
                subscription.ping()
                is_waiting_for_pong = True
                continue
            is_waiting_for_pong = False
            if message["type"] == "subscribe":
                # What was published while nobody listened is lost, so everything is rendered once more.
                self._heard([EVERYTHING])
                self.has_subscribed.set()
            elif message["type"] == "message":
                self._heard(message["data"].decode(errors="replace").split("\n"))
