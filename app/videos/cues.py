"""From timed words to cues that can be read: at most 42 characters a line, two lines, 5.5 seconds. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from app.lib.words import Word, clean, ends_sentence, is_joined, join_words, split_words

LINE_CHARACTERS = 42
LINES = 2
LONGEST_SECONDS = 5.5
PAUSE_SECONDS = 0.8  # a pause this long ends a cue
SHORTEST_SENTENCE_SECONDS = 1.2  # a shorter sentence shares its cue with the next one
READABLE_SECONDS = 1.0  # a cue stays this long where the next one leaves room


@dataclass(frozen=True)
class Cue:
    """One cue; `text` has a newline between its lines; `words` are its own words with their times."""

    start: float
    end: float
    text: str
    words: tuple[Word, ...]
    speaker: str | None = None
    flags: tuple[str, ...] = ()

    @property
    def confidence(self) -> float | None:
        """Return the mean confidence of the words that have one, 0..1."""
        known = [word.confidence for word in self.words if word.confidence is not None]
        return round(sum(known) / len(known), 3) if known else None


def build(words: Iterable[Word], speaker: str | None = None) -> list[Cue]:
    """Group timed words into cues.

    Args:
        words: in order of time; empty ones are dropped, times that run backwards are straightened.
        speaker: who says them, if known.

    Returns:
        Cues in order; none is longer than LINES lines of LINE_CHARACTERS or LONGEST_SECONDS, none overlaps the next.
    """
    groups: list[list[Word]] = []
    for word in _straighten(words):
        if groups and _fits(groups[-1], word):
            groups[-1].append(word)
        else:
            groups.append([word])
    _even_out(groups)
    cues = [_cue(group, speaker) for group in groups]
    return [_readable(cue, cues[number + 1 : number + 2]) for number, cue in enumerate(cues)]


def spread(text: str, start: float, end: float, confidence: float | None = None) -> list[Word]:
    """Give every word of `text` a share of start..end (seconds) in proportion to its characters."""
    parts = split_words(clean(text))
    total = sum(len(part) for part in parts)
    words: list[Word] = []
    done = 0
    for part in parts:
        begins = start + (end - start) * done / total
        done += len(part)
        words.append(Word(part, round(begins, 3), round(start + (end - start) * done / total, 3), confidence))
    return words


def wrap(words: Sequence[str]) -> list[str]:
    """Write words in as few lines of LINE_CHARACTERS as they need; two lines are made about equally long."""
    lines = _fill(words, LINE_CHARACTERS)
    if len(lines) != LINES:
        return lines
    for width in range(max(len(line) for line in lines) // 2, LINE_CHARACTERS):
        narrower = _fill(words, width)
        if len(narrower) == LINES and max(len(line) for line in narrower) <= width:
            return narrower
    return lines


def _fill(words: Sequence[str], width: int) -> list[str]:
    lines: list[list[str]] = []
    used = 0
    for word in words:
        needed = len(word) + (0 if lines and is_joined(lines[-1][-1], word) else 1)
        if lines and used + needed <= width:
            lines[-1].append(word)
            used += needed
        else:
            lines.append([word])
            used = len(word)
    return [join_words(line) for line in lines]


def _straighten(words: Iterable[Word]) -> Iterable[Word]:
    clock = 0.0
    for word in words:
        start = max(clock, word.start)
        end = max(start, word.end)
        parts = split_words(clean(word.text))
        if len(parts) == 1:
            yield replace(word, text=parts[0], start=start, end=min(end, start + LONGEST_SECONDS))
        else:  # nothing, or several words at once (a script without spaces, a phrase)
            yield from spread(" ".join(parts), start, end, word.confidence)
        clock = start


def _fits(group: list[Word], word: Word) -> bool:
    last = group[-1]
    if word.start - last.end >= PAUSE_SECONDS or word.end - group[0].start > LONGEST_SECONDS:
        return False
    if ends_sentence(last.text) and last.end - group[0].start >= SHORTEST_SENTENCE_SECONDS:
        return False
    return len(_fill([*(each.text for each in group), word.text], LINE_CHARACTERS)) <= LINES


def _even_out(groups: list[list[Word]]) -> None:
    """Give the last cue of a sentence words of the one before it when it has less than half as many characters."""
    for first, second in pairwise(groups):
        is_one_sentence = not ends_sentence(first[-1].text) and second[0].start - first[-1].end < PAUSE_SECONDS
        if is_one_sentence and 2 * _characters(second) < _characters(first):
            both = first + second
            cuts = [cut for cut in range(1, len(both)) if _is_cue(both[:cut]) and _is_cue(both[cut:])]
            evenest = min(cuts or [len(first)], key=lambda cut: abs(_characters(both[:cut]) - _characters(both[cut:])))
            first[:], second[:] = both[:evenest], both[evenest:]


def _is_cue(group: list[Word]) -> bool:
    seconds = max(word.end for word in group) - group[0].start
    return seconds <= LONGEST_SECONDS and len(_fill([word.text for word in group], LINE_CHARACTERS)) <= LINES


def _characters(group: list[Word]) -> int:
    return sum(len(word.text) for word in group)


def _cue(group: list[Word], speaker: str | None) -> Cue:
    text = "\n".join(wrap([word.text for word in group]))
    return Cue(group[0].start, max(word.end for word in group), text, tuple(group), speaker)


def _readable(cue: Cue, following: list[Cue]) -> Cue:
    limit = following[0].start if following else cue.end
    end = max(min(cue.end, limit), min(cue.start + READABLE_SECONDS, limit))
    return replace(cue, end=round(min(end, cue.start + LONGEST_SECONDS), 3))
