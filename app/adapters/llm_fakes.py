"""Models for tests: scripted answers, the same gate and the same errors, no network."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from app.adapters.llm import DIMENSIONS, Capabilities, Embedded, Transcription
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


def _vector(text: str) -> tuple[float, ...]:
    values = [0.0] * DIMENSIONS
    for word in text.casefold().split():
        values[int.from_bytes(hashlib.sha256(word.strip(".,;:!?").encode()).digest()[:4]) % DIMENSIONS] += 1.0
    length = math.hypot(*values)
    return tuple(value / length for value in values) if length else (1.0, *values[1:])
