"""Times for words that a person has changed: the words that stayed keep theirs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.lib.alike import changes
from app.lib.words import Word, split_words
from app.videos.cues import spread

WRITTEN = 1.0  # the confidence of a word that a person wrote: they know what was said, so it is never shaded


def retime(old: Sequence[Word], text: str, start: float, end: float) -> tuple[Word, ...]:
    """Return the words of `text` with times between `start` and `end`, or beyond where a kept word lies there.

    Words that are in `old` too, in the same order, keep their times and confidence. The others share the time between
    their neighbours in proportion to their characters; where they replace words, the time of those.
    """
    texts = split_words(text)
    found: list[Word] = []
    for tag, i1, i2, j1, j2 in changes([word.text for word in old], texts):
        if tag == "equal":
            found.extend(old[i1:i2])
        elif j1 < j2:
            low = found[-1].end if found else start
            high = old[i2].start if i2 < len(old) else max(end, low)
            if tag == "replace":
                low, high = max(low, old[i1].start), min(high, max(word.end for word in old[i1:i2]))
            low = min(low, old[i2].start) if i2 < len(old) else low
            found.extend(share(texts[j1:j2], low, max(low, high)))
    return ordered(found)


def share(texts: Sequence[str], start: float, end: float) -> list[Word]:
    """Give words written by a person a share of start..end."""
    return spread(" ".join(texts), start, end, WRITTEN)


def move(words: Sequence[Word], old: tuple[float, float], new: tuple[float, float]) -> tuple[Word, ...]:
    """Return the words of a cue whose times became `new`: where they are if they fit, else stretched with the cue."""
    if all(new[0] <= word.start and word.end <= new[1] for word in words):
        return tuple(words)
    factor = (new[1] - new[0]) / (old[1] - old[0]) if old[1] > old[0] else 0.0

    def place(seconds: float) -> float:
        return round(min(max(new[0] + (seconds - old[0]) * factor, new[0]), new[1]), 3)

    return ordered([replace(word, start=place(word.start), end=place(word.end)) for word in words])


def ordered(words: Sequence[Word]) -> tuple[Word, ...]:
    """Return words none of which begins before the one in front of it, nor ends before it begins."""
    clock = 0.0
    found: list[Word] = []
    for word in words:
        clock = max(clock, word.start)
        is_straight = word.start == clock and word.end >= clock
        found.append(word if is_straight else replace(word, start=clock, end=max(clock, word.end)))
    return tuple(found)
