"""The words of an answer with times, dressed with the capitals and signs that its text has."""

from __future__ import annotations

import math
import re
from difflib import SequenceMatcher
from typing import Any

from app.lib.words import Word

_BARE = re.compile(r"[^\w']+", re.UNICODE)


def timed_words(answer: Any, text: str) -> tuple[Word, ...]:
    """Return the words of a verbose answer, in order of time; empty when it has none.

    OpenAI's words come without punctuation, which only `text` has: where both agree, the text's spelling is taken.
    Confidence is the word's own (`confidence` or `probability`, which other servers add), else its segment's.
    """
    raw = [word for word in getattr(answer, "words", None) or () if str(word.word).strip()]
    if not raw:
        return ()
    segments = getattr(answer, "segments", None) or ()
    words: list[Word] = []
    latest = 0.0
    for word, shown in zip(raw, _dress([str(word.word).strip() for word in raw], text.split()), strict=True):
        start = max(latest, float(word.start))  # models overlap words at the seams of their windows
        end = max(start, float(word.end))
        words.append(Word(shown, round(start, 3), round(end, 3), _confidence(word, segments)))
        latest = start
    return tuple(words)


def _dress(words: list[str], tokens: list[str]) -> list[str]:
    shown = list(words)
    matcher = SequenceMatcher(None, [_bare(word) for word in words], [_bare(token) for token in tokens], autojunk=False)
    for block in matcher.get_matching_blocks():
        shown[block.a : block.a + block.size] = tokens[block.b : block.b + block.size]
    return shown


def _bare(word: str) -> str:
    return _BARE.sub("", word).casefold()


def _confidence(word: Any, segments: Any) -> float | None:
    for name in ("confidence", "probability"):
        value = getattr(word, name, None)
        if isinstance(value, int | float):
            return round(min(1.0, max(0.0, float(value))), 3)
    middle = (float(word.start) + float(word.end)) / 2
    for segment in segments:
        if segment.start <= middle <= segment.end:
            return round(min(1.0, math.exp(min(0.0, segment.avg_logprob))), 3)
    return None
