"""The real image model: OpenAI's client against any server with `/v1/images/generations`."""

from __future__ import annotations

import base64
from typing import Any
from uuid import UUID

from app.adapters import cache
from app.adapters.llm import Image
from app.adapters.llm_errors import translated
from app.adapters.llm_server import Server
from app.lib.outside import before_outside_call
from app.settings import Settings

IMAGES_SECONDS = 300.0
_SIGNATURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


class OpenAIImages:
    """Draws with any server that has OpenAI's `/v1/images/generations`."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.model = server.provider.model

    @classmethod
    def from_settings(cls, settings: Settings) -> OpenAIImages:
        """Return the image model that the settings name."""
        return cls(Server(settings, "images", settings.images, IMAGES_SECONDS))

    def generate(
        self, prompt: str, *, size: str = "1024x1024", owner_id: UUID | None = None, paid_as: str = ""
    ) -> Image:
        """Draw one picture; see `llm.Images`."""
        before_outside_call()
        request = {"model": self.model, "prompt": prompt, "size": size}
        key = cache.hash_of(request)
        kept = cache.find(owner_id, key)
        if kept is not None:
            content, pictures = base64.b64decode(kept["content"]), int(cache.billed(kept, paid_as))
            return Image(content, _type_of(content), self.model, pictures, is_cached=True)
        client: Any = self._server.client()
        with self._server.limiter.slot(), translated(self.model, self._server.limiter.pause):
            packed = client.images.generate(**request).data[0].b64_json
            content = base64.b64decode(packed, validate=True)
            found = Image(content, _type_of(content), self.model)
        cache.keep(owner_id, key, {"content": packed, "billed": 1, "paid_as": paid_as})
        return found


def _type_of(content: bytes) -> str:
    """Return the media type that a picture's first bytes tell.

    Raises:
        ValueError: they are those of no picture.
    """
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    for signature, media_type in _SIGNATURES.items():
        if content.startswith(signature):
            return media_type
    raise ValueError("no picture")
