"""What model calls of this room cost, in micro-USD. The sandbox costs nothing."""

from __future__ import annotations

import math

from app.lib.words import count_tokens
from app.web import settings

WORDS_A_SECOND = 2.5  # of speech, to say before what it costs
TOKENS_A_WORD = 1.4


def audio_price(seconds: float) -> int:
    """Return the price of transcribing `seconds` of sound."""
    rules = settings()
    if rules.transcription.is_sandbox:
        return 0
    return math.ceil(seconds * rules.audio_price_microusd_per_minute / 60)


def embedding_price(what: int | str | list[str]) -> int:
    """Return the price of embedding so many tokens, or of texts whose tokens are estimated (rather too high)."""
    rules = settings()
    if rules.embeddings.is_sandbox:
        return 0
    if isinstance(what, int):
        tokens = what
    else:
        tokens = sum(count_tokens(text) for text in ([what] if isinstance(what, str) else what))
    return math.ceil(tokens * rules.embedding_price_microusd_per_1k_tokens / 1000)


def spoken_tokens(seconds: float) -> int:
    """Return about how many tokens are said in so many seconds."""
    return round(seconds * WORDS_A_SECOND * TOKENS_A_WORD)
