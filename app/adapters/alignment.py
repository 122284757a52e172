"""When each word of a text was said, for models that give text without times.

English is aligned to the sound in the killable child; other languages, and English that could not be found, are
spread over the speech by their number of characters. It never fails: times may be rough, words are never lost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app import log
from app.adapters.llm import short_language
from app.lib import child, outside
from app.lib.words import Word, clean, split_words

logger = log.get(__name__)

CHILD = Path(__file__).with_name("speech")
LIMITS = child.Limits(wall_seconds=120, cpu_seconds=60, memory_bytes=1 << 30)
SECONDS_A_WORD = 0.35  # when nothing at all is known of the sound
JOINED_SECONDS = 0.02  # the least that a word takes

Span = tuple[float, float]


def align(path: Path, text: str, *, language: str = "", speech: Sequence[Span] = ()) -> list[Word]:
    """Return the words of `text` in order, with their times in seconds of the file.

    Args:
        path: one piece of sound, at most 15 minutes.
        text: what is said in it, with punctuation (which stays with its word).
        language: ISO 639-1, with or without a region; English is aligned, others are spread.
        speech: where somebody speaks in the piece, when the caller knows; else it is found by loudness.

    Returns:
        Words whose confidence is None: the model did not say how sure it was, and alignment cannot know.
    """
    words = split_words(clean(text))
    if not words:
        return []
    outside.before_outside_call()
    is_english = short_language(language) in ("en", "")
    found = _ask("aligner.align", path=str(path), words=words) if is_english else None
    if found is None and not speech:
        found = _ask("aligner.find_speech", path=str(path))
    spans = [(max(0.0, start), end) for start, end in speech if end > max(0.0, start)] or _spans(found, words)
    places = found.get("places") if found else None
    timed = _fill(words, [tuple(place) if place else None for place in places]) if places else spread(words, spans)
    return [Word(word, round(start, 3), round(end, 3)) for word, (start, end) in zip(words, timed, strict=True)]


def spread(words: Sequence[str], spans: Sequence[Span]) -> list[Span]:
    """Give each word a share of the speech by its characters. Pure.

    A word never lies over the silence between two spans: it goes to the one in which most of it would be.
    """
    total = sum(end - start for start, end in spans)
    weights = [len(word) + 1 for word in words]
    scale = total / sum(weights)
    places: list[Span] = []
    at = 0.0
    for weight in weights:
        places.append(_place(at, at + weight * scale, spans))
        at += weight * scale
    starts = [start for start, _ in places[1:]]
    return [
        (start, max(start, min(end, after))) for (start, end), after in zip(places, [*starts, math.inf], strict=True)
    ]


def _place(start: float, end: float, spans: Sequence[Span]) -> Span:
    """Return where a stretch of speech time lies in real time, inside one span."""
    middle, before = (start + end) / 2, 0.0
    for first, last in spans:
        length = last - first
        if middle <= before + length or (first, last) == spans[-1]:
            return first + max(0.0, start - before), first + min(length, end - before)
        before += length
    raise AssertionError(spans)


def _fill(words: Sequence[str], places: list[Span | None]) -> list[Span]:
    """Spread the words that have no place (a dash, a sign) between their neighbours."""
    known = [place for place in places if place]
    timed: list[Span] = []
    for index, place in enumerate(places):
        if place:
            timed.append(place)
            continue
        before = timed[-1][1] if timed else max(0.0, known[0][0] - JOINED_SECONDS * len(words[index]))
        after = next((other[0] for other in places[index + 1 :] if other), before + JOINED_SECONDS * len(words[index]))
        timed.append((before, max(before, min(after, before + JOINED_SECONDS * len(words[index])))))
    return timed


def _ask(function: str, **request: Any) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = child.call(CHILD, function, request, LIMITS).value
    except child.ChildError as error:
        logger.warning("alignment.failed", function=function, detail=str(error)[:500])
        return None
    return found


def _spans(found: dict[str, Any] | None, words: Sequence[str]) -> list[Span]:
    speech = [(start, end) for start, end in (found or {}).get("speech", ()) if end > start]
    if speech:
        return speech
    seconds = float((found or {}).get("seconds", 0.0)) or SECONDS_A_WORD * len(words)
    return [(0.0, seconds)]
