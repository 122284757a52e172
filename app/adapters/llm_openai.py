"""The real transcriber and embedder: OpenAI's client against any server with OpenAI's HTTP API.

`openai` is imported when first used (it takes half a second), and only in the files of this adapter that need it.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import UUID

from app.adapters import cache
from app.adapters.llm import DIMENSIONS, Capabilities, Embedded, Transcription, short_language
from app.adapters.llm_errors import translated
from app.adapters.llm_models import capabilities_of
from app.adapters.llm_server import Server
from app.adapters.llm_words import timed_words
from app.errors import Permanent
from app.lib.outside import before_outside_call
from app.lib.words import Word
from app.settings import Settings

TRANSCRIPTION_SECONDS = 600.0  # for an answer to a piece of up to ten minutes
SANDBOX_TRANSCRIPTION_SECONDS = 1800.0  # offline recognition on a small machine that has other work too
EMBEDDING_SECONDS = 60.0
PROMPT_CHARACTERS = 800  # models look at about the last 224 tokens of a prompt
MAX_TEXTS = 2048
TAKES_KEYWORDS = ("gpt-transcribe",)


class OpenAITranscriber:
    """Transcribes with any server that has OpenAI's `/v1/audio/transcriptions`."""

    def __init__(self, server: Server, capabilities: Capabilities) -> None:
        self._server, self.capabilities = server, capabilities
        self.model = server.provider.model

    @classmethod
    def from_settings(cls, settings: Settings) -> OpenAITranscriber:
        """Return the transcriber that the settings name."""
        provider = settings.transcription
        timeout = SANDBOX_TRANSCRIPTION_SECONDS if provider.is_sandbox else TRANSCRIPTION_SECONDS
        server = Server(settings, "transcription", provider, timeout)
        return cls(server, capabilities_of(provider, settings.transcription_timestamps))

    def transcribe(
        self,
        path: Path,
        *,
        language: str = "",
        prompt: str = "",
        vocabulary: str = "",
        owner_id: UUID | None = None,
        paid_as: str = "",
    ) -> Transcription:
        """Transcribe one file; see `llm.Transcriber`."""
        before_outside_call()
        content = path.read_bytes()
        self._check(len(content), language)
        request = self._request(short_language(language), prompt, vocabulary)
        key = cache.hash_of(request, content)
        kept = cache.find(owner_id, key)
        if kept is not None:
            words = tuple(Word(**word) for word in kept["words"])
            return Transcription(kept["text"], words, cache.billed(kept, paid_as), is_cached=True)
        found = self._call(request, path.name, content)
        words_kept = [asdict(word) for word in found.words]
        billed = {"billed": found.seconds_billed, "paid_as": paid_as}
        cache.keep(owner_id, key, {"text": found.text, "words": words_kept, **billed})
        return found

    def _check(self, size: int, language: str) -> None:
        if size > self.capabilities.max_bytes:
            raise Permanent(
                f"A piece of sound is larger than the model provider takes ({self.capabilities.max_bytes} bytes)."
                " Upload the recording at a lower quality."
            )
        if language and not self.capabilities.knows(language):
            raise Permanent(
                f"The transcription model does not know this language ({language}). Upload captions with the video, or"
                " ask an administrator for a model that knows it: a key, or a local server."
            )

    def _request(self, language: str, prompt: str, vocabulary: str) -> dict[str, Any]:
        request: dict[str, Any] = {"model": self.model, "response_format": "json"}
        if self.capabilities.has_times:
            request |= {"response_format": "verbose_json", "timestamp_granularities": ["word", "segment"]}
        terms = [term.strip() for term in vocabulary.replace("\n", ",").split(",") if term.strip()]
        if self.model in TAKES_KEYWORDS:
            request |= {"keywords": terms} if terms else {}
            request |= {"languages": [language]} if language else {}
        else:
            prompt = f"{', '.join(terms)}. {prompt}" if terms else prompt
            request |= {"language": language} if language else {}
        tail = prompt.strip()[-PROMPT_CHARACTERS:]
        return request | ({"prompt": tail} if tail else {})

    def _call(self, request: dict[str, Any], name: str, content: bytes) -> Transcription:
        client = self._server.client()
        with self._server.limiter.slot(), translated(self.model, self._server.limiter.pause):
            answer = client.audio.transcriptions.create(file=(name, content), **request)
            text = str(answer.text).strip()
            return Transcription(text, timed_words(answer, text), _seconds(answer, content))


class OpenAIEmbedder:
    """Embeds with any server that has OpenAI's `/v1/embeddings`."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.model = server.provider.model

    @classmethod
    def from_settings(cls, settings: Settings) -> OpenAIEmbedder:
        """Return the embedder that the settings name."""
        return cls(Server(settings, "embeddings", settings.embeddings, EMBEDDING_SECONDS))

    def embed(
        self,
        texts: Sequence[str],
        *,
        owner_id: UUID | None = None,
        paid_as: str = "",
        patience_seconds: float | None = None,
    ) -> Embedded:
        """Embed texts; see `llm.Embedder`."""
        if not texts or len(texts) > MAX_TEXTS or not all(text.strip() for text in texts):
            raise ValueError(f"embed() takes 1 to {MAX_TEXTS} texts, none of them empty.")
        before_outside_call()
        request = {"model": self.model, "input": list(texts), "dimensions": DIMENSIONS}
        key = cache.hash_of(request)
        kept = cache.find(owner_id, key)
        if kept is not None:
            vectors = tuple(_unpack(vector) for vector in kept["vectors"])
            return Embedded(vectors, int(cache.billed(kept, paid_as)), is_cached=True)
        found = self._call(list(texts), patience_seconds)
        vectors_kept = [_pack(vector) for vector in found.vectors]
        cache.keep(owner_id, key, {"vectors": vectors_kept, "billed": found.tokens, "paid_as": paid_as})
        return found

    def _call(self, texts: list[str], patience_seconds: float | None) -> Embedded:
        client = self._server.client()
        if patience_seconds is not None:
            client = client.with_options(timeout=patience_seconds)
        with self._server.limiter.slot(), translated(self.model, self._server.limiter.pause):
            answer = client.embeddings.create(model=self.model, input=texts, dimensions=self._dimensions())
            ordered = sorted(answer.data, key=lambda item: item.index)
            vectors = [tuple(map(float, item.embedding)) for item in ordered]
            tokens = answer.usage.total_tokens if answer.usage else 0
        return Embedded(self._fitted(vectors, len(texts)), tokens)

    def _dimensions(self) -> Any:
        from openai import omit

        # Only this family knows the parameter; other servers refuse or ignore it and have one length of their own.
        return DIMENSIONS if self.model.startswith("text-embedding-3") else omit

    def _fitted(self, vectors: list[tuple[float, ...]], count: int) -> tuple[tuple[float, ...], ...]:
        lengths = {len(vector) for vector in vectors}
        if len(vectors) != count or len(lengths) != 1 or not 0 < max(lengths) <= DIMENSIONS:
            raise Permanent(
                f"The embedding model {self.model} does not answer with one vector of at most {DIMENSIONS} numbers for"
                " each text. An administrator must set another (EMBEDDING_MODEL); then choose Retry."
            )
        padding = (0.0,) * (DIMENSIONS - max(lengths))  # local models have fewer; zeros change no cosine
        return tuple(vector + padding for vector in vectors)


def _seconds(answer: Any, content: bytes) -> float:
    usage = getattr(answer, "usage", None)
    for seconds in (getattr(usage, "seconds", None), getattr(answer, "duration", None)):
        if isinstance(seconds, int | float) and seconds > 0:
            return float(seconds)
    return _length(content)  # a provider that bills by tokens: our prices are by the minute


def _length(content: bytes) -> float:
    import io

    import av

    try:
        with av.open(io.BytesIO(content), "r") as container:
            return container.duration / av.time_base if container.duration else 0.0
    except av.FFmpegError:
        return 0.0


def _pack(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _unpack(packed: str) -> tuple[float, ...]:
    content = base64.b64decode(packed)
    return struct.unpack(f"<{len(content) // 4}f", content)
