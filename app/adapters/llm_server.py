"""A server with OpenAI's HTTP API: its client, and the limiter of one capability of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from app.adapters.llm_limits import Limiter, Limits
from app.errors import Permanent
from app.settings import Provider, Settings

if TYPE_CHECKING:
    import openai

CONNECT_SECONDS = 5.0
OWN_ADDRESS = "https://api.openai.com/v1"
_patience: ContextVar[float | None] = ContextVar("patience", default=None)


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Give every model call inside it at most so long: somebody waits for the page."""
    before = _patience.set(seconds)
    try:
        yield
    finally:
        _patience.reset(before)


class Server:
    """One provider for one capability: its client, made when first needed, and its limiter."""

    def __init__(self, settings: Settings, capability: str, provider: Provider, timeout: float) -> None:
        at_once = settings.model_calls_at_once
        if provider.is_sandbox:
            at_once = min(at_once, 2 * (os.cpu_count() or 1))  # it recognises on this machine's cores
        self.provider, self.timeout = provider, timeout
        self.limiter = Limiter.of(settings, capability, provider, Limits(at_once, settings.model_calls_a_minute))
        self._client: openai.OpenAI | None = None
        self._lock = threading.Lock()

    def client(self) -> openai.OpenAI:
        """Return the client.

        Raises:
            Permanent: neither a key nor a server is set.
        """
        with self._lock:
            if self._client is None:
                self._client = self._make_client()
            seconds = _patience.get()
            return self._client if seconds is None else self._client.with_options(timeout=seconds)

    def _make_client(self) -> openai.OpenAI:
        if not self.provider.api_key and not self.provider.base_url:
            raise Permanent(
                "No model provider is set up. An administrator must set OPENAI_API_KEY, or OPENAI_BASE_URL for a local"
                " server; then choose Retry."
            )
        import httpx2
        import openai

        return openai.OpenAI(
            # A local server may want no key; the client wants one, and would otherwise look for it in the environment.
            api_key=self.provider.api_key or "none",
            base_url=self.provider.base_url or OWN_ADDRESS,
            max_retries=0,  # the engine retries: a client that sleeps holds a worker
            timeout=httpx2.Timeout(self.timeout, connect=CONNECT_SECONDS),
        )
