"""One limiter for each provider, shared by every process of the instance: calls at once, calls a minute, and pauses.

It lives in Redis and never waits: a call that does not fit is refused with Busy(retry_after), on which the
engine parks without counting an attempt. Without Redis every call is let through: a lost Redis costs latency, not work.
A slot belongs to its holder only while that process renews it, so a killed worker's slots are free after LEASE seconds.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import redis

from app import log
from app.errors import Busy
from app.extensions import redis_client
from app.settings import Provider, Settings

logger = log.get(__name__)

LEASE = 15.0  # seconds that a slot outlives its last renewal
RENEWAL = 4.0
LONGEST_PAUSE = 24 * 3600.0

# KEYS: slots, starts of the last minute, pause, refusals of late. ARGV: token, calls at once, calls a minute,
# lease (ms). Returns {1, 0} when admitted, else {0, milliseconds to wait}. The server's clock is the only clock.
_TAKE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local pause = redis.call('PTTL', KEYS[3])
if pause > 0 then return {0, pause} end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - 60000)
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[3]) then
  return {0, redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2] + 60000 - now}
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then
  local refused = redis.call('INCR', KEYS[4])
  if refused == 1 then redis.call('PEXPIRE', KEYS[4], 10000) end
  return {0, math.min(10000, 1000 + 250 * refused)}
end
redis.call('ZADD', KEYS[1], now + ARGV[4], ARGV[1])
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], 60000)
return {1, 0}
"""
# KEYS: slots. ARGV: lease (ms), tokens. A slot that was lost (Redis flushed) is taken again.
_RENEW = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return #ARGV - 1
"""


@dataclass(frozen=True)
class Limits:
    """How much one provider takes."""

    at_once: int
    a_minute: int


class Limiter:
    """The limiter of one provider and capability."""

    def __init__(self, connection: redis.Redis, prefix: str, limits: Limits) -> None:
        self._redis, self._limits = connection, limits
        self._slots, self._starts = f"{prefix}:slots", f"{prefix}:starts"
        self._pause, self._refused = f"{prefix}:pause", f"{prefix}:refused"
        self._take: Any = connection.register_script(_TAKE)
        self._renew: Any = connection.register_script(_RENEW)
        self._held: set[str] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._renewer: threading.Thread | None = None

    @classmethod
    def of(cls, settings: Settings, capability: str, provider: Provider, limits: Limits) -> Limiter:
        """Return the limiter that all processes share for this capability and this account at this server."""
        account = hashlib.sha256(f"{provider.base_url}\n{provider.api_key}".encode()).hexdigest()[:16]
        return cls(redis_client(settings), f"{settings.redis_namespace}:models:{capability}:{account}", limits)

    @contextlib.contextmanager
    def slot(self) -> Iterator[None]:
        """Hold one slot for the length of the block.

        Raises:
            Busy: no slot is free, the minute is full or the provider asked for a pause; with `retry_after`.
        """
        token = secrets.token_hex(8)
        is_counted = self._admit(token)
        try:
            yield
        finally:
            if is_counted:
                self._give_back(token)

    def pause(self, seconds: float) -> None:
        """Let nobody call for `seconds`, because the provider asked for it."""
        with self._without_redis("pause"):
            self._redis.set(self._pause, "1", px=max(1, round(min(seconds, LONGEST_PAUSE) * 1000)))

    def _admit(self, token: str) -> bool:
        keys = [self._slots, self._starts, self._pause, self._refused]
        admitted, wait = 0, 0
        try:
            arguments = [token, self._limits.at_once, self._limits.a_minute, round(LEASE * 1000)]
            admitted, wait = self._take(keys=keys, args=arguments)
        except redis.RedisError as error:
            logger.warning("models.limiter_unreachable", error=type(error).__name__)
            return False
        if not admitted:
            # Spread, so that those who wait do not all come back in the same instant.
            retry_after = max(1.0, int(wait) / 1000) * random.uniform(1.0, 1.25)  # noqa: S311
            raise Busy("The model provider is busy with other work; this waits for its turn.", retry_after)
        self._hold(token)
        return True

    def _hold(self, token: str) -> None:
        with self._lock:
            self._held.add(token)
            if self._renewer is None or not self._renewer.is_alive():
                self._renewer = threading.Thread(target=self._keep_renewing, name="model-slots", daemon=True)
                self._renewer.start()

    def _give_back(self, token: str) -> None:
        with self._lock:
            self._held.discard(token)
        with self._without_redis("give_back"):
            self._redis.zrem(self._slots, token)

    def _keep_renewing(self) -> None:
        while not self._ended.wait(RENEWAL):
            with self._lock:
                held = list(self._held)
                if not held:
                    self._renewer = None
                    return
            with self._without_redis("renew"):
                self._renew(keys=[self._slots], args=[round(LEASE * 1000), *held])

    @contextlib.contextmanager
    def _without_redis(self, action: str) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as error:
            logger.warning("models.limiter_unreachable", action=action, error=type(error).__name__)
