"""Cut a transcript into chunks for search: 500-1000 words with 100 words of overlap, bounded by tokens too. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.lib.words import count_tokens, ends_sentence, join_words
from app.videos.cues import Cue

FEWEST_WORDS = 500
MOST_WORDS = 1_000
OVERLAP_WORDS = 100
OVERLAP_SLACK_WORDS = 40  # the overlap grows by up to this many words to start at a sentence or cue
MOST_TOKENS = 4_000  # models take 8,191; `count_tokens` is an estimate, so half of it


@dataclass(frozen=True)
class ChunkDraft:
    """One chunk; times are those of its own first and last word; segments are counted from 0, both ends included."""

    index: int
    text: str
    start_seconds: float
    end_seconds: float
    first_segment: int
    last_segment: int
    words: int


Bounds = tuple[int, int]


@dataclass(frozen=True)
class Unit:
    """One word of a transcript as cutting looks at it."""

    text: str
    start: float
    end: float
    segment: int
    tokens: int
    is_boundary: bool  # a sentence or a cue ends with it
    is_sentence: bool


def cut(cues: Sequence[Cue]) -> list[ChunkDraft]:
    """Cut cues into chunks.

    Every chunk but those bounded by tokens has FEWEST_WORDS..MOST_WORDS words when the transcript has that many;
    each ends at a sentence if one ends there, else at a cue. Neighbours share at least OVERLAP_WORDS words.

    Returns:
        The chunks in order; none for a transcript without words.
    """
    units = units_of(cues)
    return [draft(index, units[begin:end]) for index, (begin, end) in enumerate(bounds(units))]


def bounds(units: Sequence[Unit]) -> list[Bounds]:
    """Return where each chunk begins and ends (exclusive), in words; see `cut`."""
    found: list[Bounds] = []
    begin = 0
    while begin < len(units):
        end = _end(units, begin)
        found.append((begin, end))
        if end >= len(units):
            break
        begin = max(begin + 1, overlap_start(units, begin, end))
    return found


def units_of(cues: Sequence[Cue]) -> list[Unit]:
    """Return the words of a transcript with what cutting looks at."""
    units: list[Unit] = []
    for segment, cue in enumerate(cues):
        for number, word in enumerate(cue.words, 1):
            is_sentence = ends_sentence(word.text)
            units.append(
                Unit(
                    word.text,
                    word.start,
                    word.end,
                    segment,
                    count_tokens(word.text),
                    is_boundary=is_sentence or number == len(cue.words),
                    is_sentence=is_sentence,
                )
            )
    return units


def _end(units: Sequence[Unit], begin: int) -> int:
    """Return where the chunk that starts at `begin` ends (exclusive)."""
    most = _within_tokens(units, begin)
    left = len(units) - begin
    if left <= most:
        return len(units)
    # Leave enough for the next chunk to be a full one too.
    most = min(most, max(FEWEST_WORDS, left - FEWEST_WORDS + OVERLAP_WORDS))
    least = min(FEWEST_WORDS, most // 2 or 1) if most < FEWEST_WORDS else FEWEST_WORDS
    candidates = range(begin + most, begin + least - 1, -1)
    for wanted in ("is_sentence", "is_boundary"):
        for end in candidates:
            if getattr(units[end - 1], wanted):
                return end
    return begin + most


def _within_tokens(units: Sequence[Unit], begin: int) -> int:
    tokens = 0
    for count, unit in enumerate(units[begin : begin + MOST_WORDS]):
        tokens += unit.tokens
        if tokens > MOST_TOKENS and count:
            return count
    return MOST_WORDS


def least_overlap(begin: int, end: int) -> int:
    """Return how many words a chunk shares with the next; one cut short by tokens fewer, else they never advance."""
    return min(OVERLAP_WORDS, (end - begin) // 2)


def overlap_start(units: Sequence[Unit], begin: int, end: int) -> int:
    """Return where the chunk after begin..end begins: at a sentence or cue if one begins near."""
    wanted = end - least_overlap(begin, end)
    for start in range(wanted, max(begin, wanted - OVERLAP_SLACK_WORDS), -1):
        if units[start - 1].is_boundary:
            return start
    return wanted


def draft(index: int, units: Sequence[Unit]) -> ChunkDraft:
    """Return the chunk of these words."""
    return ChunkDraft(
        index=index,
        text=join_words([unit.text for unit in units]),
        start_seconds=units[0].start,
        end_seconds=max(unit.end for unit in units),
        first_segment=units[0].segment,
        last_segment=units[-1].segment,
        words=len(units),
    )
