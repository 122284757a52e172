"""Models for tests: scripted answers, the same gate and the same errors, no network."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from app.adapters.llm import DIMENSIONS, Answer, Capabilities, Embedded, Image, Transcription
from app.lib.outside import before_outside_call

Scripted = Transcription | Exception | str


@dataclass(frozen=True)
class Asked:
    """One call that a FakeTranscriber got."""

    name: str
    content: bytes
    language: str
    prompt: str
    vocabulary: str
    owner_id: UUID | None


@dataclass
class FakeTranscriber:
    """Answers with `script` in order, then with `otherwise`; an exception in the script is raised.

    A string is a text without times. `on_call(asked)` runs inside each call, for tests that must stop there.
    """

    script: list[Scripted] = field(default_factory=list)
    otherwise: Scripted = "Nothing was scripted."
    model: str = "fake-transcribe"
    capabilities: Capabilities = field(default_factory=lambda: Capabilities(has_times=True, max_bytes=25 * 1024 * 1024))
    on_call: Callable[[Asked], None] | None = None
    calls: list[Asked] = field(default_factory=list)

    def transcribe(
        self,
        path: Path,
        *,
        language: str = "",
        prompt: str = "",
        vocabulary: str = "",
        owner_id: UUID | None = None,
        paid_as: str = "",  # noqa: ARG002
    ) -> Transcription:
        """Answer as scripted; see `llm.Transcriber`."""
        before_outside_call()
        asked = Asked(path.name, path.read_bytes(), language, prompt, vocabulary, owner_id)
        self.calls.append(asked)
        if self.on_call:
            self.on_call(asked)
        answer = self.script.pop(0) if self.script else self.otherwise
        if isinstance(answer, Exception):
            raise answer
        return Transcription(answer, (), 1.0) if isinstance(answer, str) else answer


@dataclass
class FakeEmbedder:
    """Embeds any text deterministically (texts that share words are near); `script` holds errors to raise first."""

    script: list[Exception | None] = field(default_factory=list)
    model: str = "fake-embed"
    on_call: Callable[[Sequence[str]], None] | None = None
    calls: list[tuple[str, ...]] = field(default_factory=list)

    def embed(
        self,
        texts: Sequence[str],
        *,
        owner_id: UUID | None = None,  # noqa: ARG002
        paid_as: str = "",  # noqa: ARG002
        patience_seconds: float | None = None,  # noqa: ARG002
    ) -> Embedded:
        """Answer as scripted; see `llm.Embedder`."""
        before_outside_call()
        self.calls.append(tuple(texts))
        if self.on_call:
            self.on_call(texts)
        error = self.script.pop(0) if self.script else None
        if error is not None:
            raise error
        return Embedded(tuple(_vector(text) for text in texts), sum(len(text.split()) for text in texts))


@dataclass
class FakeChat:
    """Answers with `script` in order, then with `otherwise`; an exception is raised, a function is called.

    What is no text is the data of an answer as JSON. Every message and the other arguments are in `calls`.
    """

    script: list[Any] = field(default_factory=list)
    otherwise: Any = "Nothing was scripted."
    model: str = "fake-chat"
    input_tokens: int = 100
    output_tokens: int = 20
    calls: list[dict[str, Any]] = field(default_factory=list)

    def answer(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        write: Callable[[str], None] | None = None,
        model: str | None = None,
        **asked: Any,
    ) -> Answer:
        """Answer as scripted; see `llm.Chat`."""
        before_outside_call()
        self.calls.append({"messages": [dict(message) for message in messages], "model": model, **asked})
        said = self.script.pop(0) if self.script else self.otherwise
        if callable(said):
            said = said(messages)
        if isinstance(said, Exception):
            raise said
        text = said if isinstance(said, str) else json.dumps(said)
        if write is not None:
            write(text)
        data = None if isinstance(said, str) else said
        return Answer(text, data, self.input_tokens, self.output_tokens, model or self.model, id=f"{len(self.calls)}")


@dataclass
class FakeImages:
    """Draws a picture of one pixel, or raises what is in `script`."""

    script: list[Exception | None] = field(default_factory=list)
    model: str = "fake-image"
    calls: list[dict[str, Any]] = field(default_factory=list)

    def generate(
        self, prompt: str, *, size: str = "1024x1024", owner_id: UUID | None = None, paid_as: str = ""
    ) -> Image:
        """Answer as scripted; see `llm.Images`."""
        before_outside_call()
        self.calls.append({"prompt": prompt, "size": size, "owner_id": owner_id, "paid_as": paid_as})
        error = self.script.pop(0) if self.script else None
        if error is not None:
            raise error
        return Image(_PIXEL, "image/png", self.model)


_PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001a5f64540"
    "0000000049454e44ae426082"
)


def _vector(text: str) -> tuple[float, ...]:
    values = [0.0] * DIMENSIONS
    for word in text.casefold().split():
        values[int.from_bytes(hashlib.sha256(word.strip(".,;:!?").encode()).digest()[:4]) % DIMENSIONS] += 1.0
    length = math.hypot(*values)
    return tuple(value / length for value in values) if length else (1.0, *values[1:])
