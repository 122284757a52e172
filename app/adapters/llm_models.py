"""What is known of models by their names: when they are withdrawn, and what their answers contain.

Dates are the announced shutdowns as the `openai` package 3.54 documents them (types/audio_model.py,
types/shared/chat_model.py, types/image_model.py; read 2026-11-22).
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from app.adapters.llm import Capabilities
from app.settings import Provider

SANDBOX_TRANSCRIPTION = "sandbox-transcribe"
SANDBOX = "sandbox-"  # how the name of every model of the sandbox begins
MAX_AUDIO_BYTES = 25 * 1024 * 1024  # of one request, by OpenAI's API
_SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}$")
_WITH_TIMES = (SANDBOX_TRANSCRIPTION, "whisper-1")


@dataclass(frozen=True)
class Retirement:
    """A model that is or will be withdrawn, and what to set instead."""

    model: str
    on: dt.date
    successor: str


def _retire(year: int, month: int, day: int, successor: str, *models: str) -> dict[str, Retirement]:
    return {model: Retirement(model, dt.date(year, month, day), successor) for model in models}


RETIREMENTS: dict[str, Retirement] = {
    **_retire(
        *(2027, 2, 26, "gpt-transcribe"),
        "whisper-1",
        "gpt-4o-transcribe",
        "gpt-4o-mini-transcribe",
        "gpt-4o-mini-transcribe-2025-12-15",
        "gpt-4o-transcribe-diarize",
    ),
    **_retire(2027, 1, 14, "gpt-5.5", "gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini"),
    **_retire(2026, 12, 11, "gpt-5.5", "gpt-5", "gpt-5-mini", "gpt-5-nano", "o3"),
    **_retire(2027, 4, 1, "gpt-5.5", "gpt-5.4-nano", "gpt-5.1"),
    **_retire(2026, 8, 10, "gpt-5.5", "gpt-5.3-chat-latest", "gpt-5.2-chat-latest"),
    **_retire(2026, 7, 23, "gpt-5.5", "gpt-5.1-codex", "gpt-5.1-chat-latest", "gpt-5-chat-latest"),
    **_retire(
        *(2026, 10, 23, "gpt-5.5"),
        *("gpt-4.1-nano", "o4-mini", "o3-mini", "o1", "gpt-4o-2024-05-13", "gpt-4-turbo", "gpt-4", "gpt-3.5-turbo"),
    ),
    **_retire(2026, 10, 23, "gpt-image-2.5-flare", "gpt-image-1"),
    **_retire(2026, 5, 12, "gpt-image-2.5-flare", "dall-e-2", "dall-e-3"),
}


def retirement_of(model: str) -> Retirement | None:
    """Return when `model` is withdrawn, or None when nothing is announced; a dated snapshot goes with its model."""
    return RETIREMENTS.get(model) or RETIREMENTS.get(_SNAPSHOT.sub("", model))


def capabilities_of(provider: Provider, timestamps: str) -> Capabilities:
    """Return what a transcription provider can do.

    Args:
        provider: the server and the model's name.
        timestamps: the setting TRANSCRIPTION_TIMESTAMPS: "auto" goes by the model's name.
    """
    has_times = timestamps == "yes" or (timestamps == "auto" and provider.model in _WITH_TIMES)
    return Capabilities(has_times, MAX_AUDIO_BYTES, ("en",) if provider.is_sandbox else ())
