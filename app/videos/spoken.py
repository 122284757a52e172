"""Which spoken languages the transcription model set now knows, and what to do about the others."""

from __future__ import annotations

from collections.abc import Sequence

from app.adapters import llm


def refusal(language: str) -> str:
    """Return why the model set now cannot transcribe this language, with the ways out; empty when it can."""
    if llm.transcriber().capabilities.knows(language):
        return ""
    return (
        f"The transcription model set now does not know this language ({language}). "
        "Upload a caption file (.srt or .vtt) with the video, or ask an administrator to set a model that does: "
        "an OpenAI key or a local speech server."
    )


def choices(languages: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the languages to choose from, as given, with a word on those that need captions now."""
    knows = llm.transcriber().capabilities.knows
    return [(code, name if knows(code) else f"{name} (with captions only)") for code, name in languages]


def is_english_only() -> bool:
    """Tell whether the offline recogniser is in use, which knows no other language."""
    return llm.transcriber().capabilities.languages == ("en",)
