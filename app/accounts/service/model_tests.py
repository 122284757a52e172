"""Try each kind of model once, with the smallest call that shows whether it works. Each is paid and metered."""

from __future__ import annotations

import io
import math
import re
import tempfile
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from app.accounts.service import asking
from app.accounts.service.usage import ensure_budget, record_usage
from app.adapters import llm
from app.adapters.llm_server import patience
from app.errors import AppError, Transient
from app.lib.ids import new_id
from app.lib.text import file_size, span
from app.settings import CAPABILITIES
from app.web import settings

SOUND_SECONDS = 1
SOUND_RATE = 16_000
ANSWER_TOKENS = 500  # a reasoning model thinks before it says one word
TEXT = "Is this model there?"
PATIENCE_SECONDS = 20.0


@dataclass(frozen=True)
class Tested:
    """How one call went: how long it took, what it cost, and what came back or went wrong, in a sentence."""

    capability: str
    is_ok: bool
    milliseconds: int
    sentence: str
    microusd: int | None = None  # None: it went wrong, and nothing is known to be paid


def try_model(owner_id: UUID, capability: str) -> Tested:
    """Call the model of one capability (a key of `settings.CAPABILITIES`) once; what goes wrong is told, not raised."""
    started = time.monotonic()
    microusd = None
    try:
        with patience(PATIENCE_SECONDS):
            said, microusd = _CALLS[capability](owner_id)
    except AppError as error:
        said = _advice(error, CAPABILITIES[capability][0])
    return Tested(capability, microusd is not None, round((time.monotonic() - started) * 1000), said, microusd)


def _advice(error: AppError, variable: str) -> str:
    """Return what an administrator reads: the adapters' sentences are written for whoever has a run that failed."""
    said = error.message.removesuffix(" It is tried again.").removesuffix(" This goes on by itself.")
    said = re.sub(r"; then\s+choose\s+Retry\.$", "; then test again.", said)
    for general, own in (("OPENAI_API_KEY", f"{variable}_API_KEY"), ("OPENAI_BASE_URL", f"{variable}_BASE_URL")):
        said = said.replace(general, f"{general} or {own}")
    if isinstance(error, Transient) and error.retry_after:
        return f"{said} Test again in {span(error.retry_after)}."
    if isinstance(error, Transient):
        return f"{said} See that the server runs and that {variable}_BASE_URL is its address; then test again."
    return said


def _transcribe(owner_id: UUID) -> tuple[str, int]:
    rules = settings()
    price = (
        0 if rules.transcription.is_sandbox else math.ceil(SOUND_SECONDS * rules.audio_price_microusd_per_minute / 60)
    )
    ensure_budget(owner_id, price)
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        file.write(_sound())
        file.flush()
        found = llm.transcriber().transcribe(Path(file.name), language="en")
    model = llm.transcriber().model
    record_usage(owner_id, kind="transcription", model=model, quantity=SOUND_SECONDS, unit="seconds", microusd=price)
    return f"It answered with {len(found.text)} characters to a second of sound without words.", price


def _embed(owner_id: UUID) -> tuple[str, int]:
    rules = settings()
    ensure_budget(owner_id, 0 if rules.embeddings.is_sandbox else rules.embedding_price_microusd_per_1k_tokens)
    found = llm.embedder().embed([TEXT])
    thousands = found.tokens / 1000
    price = 0 if rules.embeddings.is_sandbox else math.ceil(thousands * rules.embedding_price_microusd_per_1k_tokens)
    model = llm.embedder().model
    record_usage(owner_id, kind="embeddings", model=model, quantity=found.tokens, unit="tokens", microusd=price)
    return f"It answered with a vector of {len(found.vectors[0]):,} numbers.", price


def _chat(owner_id: UUID) -> tuple[str, int]:
    # A number of its own, so that no kept answer passes for one of the model.
    asked = [{"role": "user", "content": f"{TEXT} Answer with one word. This is test {new_id()}."}]
    found = asking.ask(owner_id, asked, max_output_tokens=ANSWER_TOKENS)
    said = f"It answered with {len(found.text)} characters ({found.input_tokens} tokens in, {found.output_tokens} out)."
    return said, asking.chat_price(found.input_tokens, found.output_tokens)


def _draw(owner_id: UUID) -> tuple[str, int]:
    found = asking.draw(owner_id, f"A calm sea at dusk, test {new_id()}")
    said = f"It drew a picture of {file_size(len(found.content))} ({found.media_type})."
    return said, asking.image_price(found.pictures)


def _sound() -> bytes:
    """Return a second of a quiet low tone, as a WAV file."""
    samples = (round(600 * math.sin(at * 2 * math.pi * 220 / SOUND_RATE)) for at in range(SOUND_SECONDS * SOUND_RATE))
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SOUND_RATE)
        file.writeframes(b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples))
    return made.getvalue()


_CALLS: dict[str, Callable[[UUID], tuple[str, int]]] = {
    "transcription": _transcribe,
    "embeddings": _embed,
    "chat": _chat,
    "images": _draw,
}
