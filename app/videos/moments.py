"""The moment of a hit: the place inside a chunk where what was looked for is said. No database here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.lib.words import Word, is_joined, split_words
from app.videos.search import Term, has_part, is_stem, normalise, search_text

LONGEST_HIT_SECONDS = 15.0
WINDOW_SECONDS = 10.0  # words of one hit lie this close together
LEAD_SECONDS = 4.0  # a hit starts with its cue, unless the words come later in it than this


@dataclass(frozen=True)
class CueText:
    """What is said in one cue, and when; times in seconds."""

    index: int
    start_seconds: float
    end_seconds: float
    text: str


@dataclass(frozen=True)
class TimedWord:
    """One word of a chunk with the cue it stands in."""

    text: str
    start: float
    end: float
    segment: int
    segment_start: float


@dataclass(frozen=True)
class Moment:
    """The best place in a chunk: times in seconds, the words said there, which of them were asked for, and how many."""

    start_seconds: float
    end_seconds: float
    words: tuple[str, ...]
    marked: frozenset[int]
    terms_found: int
    span_seconds: float

    @property
    def parts(self) -> list[tuple[str, bool]]:
        """Return the text as `(piece, is_marked)`, spaces included."""
        found: list[tuple[str, bool]] = []
        for number, word in enumerate(self.words):
            gap = " " if number and not is_joined(self.words[number - 1], word) else ""
            if gap:
                found.append((gap, False))
            found.append((word, number in self.marked))
        return found

    @property
    def snippet(self) -> str:
        """Return the text without marks."""
        return "".join(piece for piece, _ in self.parts)


def locate(words: Sequence[TimedWord], terms: Sequence[Term]) -> Moment | None:
    """Find the moment of a chunk where most of the terms are said, closest together.

    Returns:
        A moment of at most LONGEST_HIT_SECONDS that starts at most 5 seconds before its first marked word; None when
        no term occurs.
    """
    matches = _matches(words, terms)
    best: tuple[int, float, int, int] | None = None
    last = 0
    for first, (begins, _) in enumerate(matches):
        while last + 1 < len(matches) and words[matches[last + 1][0]].end - words[begins].start <= WINDOW_SECONDS:
            last += 1
        last = max(last, first)
        inside = matches[first : last + 1]
        ends = _shortest_end(inside)
        found = (len({term for _, term in inside}), words[begins].start - words[ends].end, -begins, ends)
        if best is None or found > best:
            best = found
    return _moment(words, terms, -best[2], best[3], best[0]) if best else None


def near(cues: Sequence[CueText], terms: Sequence[Term]) -> list[CueText]:
    """Return the cues of a chunk of which a moment can be made: those with a word of the terms and those between.

    Nothing of the terms in any of them: the first two, for its opening.
    """
    said = [search_text(split_words(cue.text)) for cue in cues]
    chosen: set[int] = set()
    before: int | None = None
    for number, text in enumerate(said):
        if has_part(text, terms):
            begins = number
            if before is not None and cues[number].start_seconds - cues[before].end_seconds <= LONGEST_HIT_SECONDS:
                begins = before
            chosen.update(range(begins, number + 1))
            before = number
    return [cues[number] for number in sorted(chosen)] or list(cues[:2])


def opening(words: Sequence[TimedWord]) -> Moment | None:
    """Return the first cue of a chunk: where a hit by meaning points when none of the words are said."""
    return _moment(words, (), 0, 0, 0) if words else None


def timed(words: Iterable[Word], segment: int, segment_start: float) -> list[TimedWord]:
    """Attach their cue to words."""
    return [TimedWord(word.text, word.start, word.end, segment, segment_start) for word in words]


def _shortest_end(inside: list[tuple[int, int]]) -> int:
    wanted = len({term for _, term in inside})
    seen: set[int] = set()
    for position, term in inside:
        seen.add(term)
        if len(seen) == wanted:
            return position
    return inside[-1][0]


def _moment(words: Sequence[TimedWord], terms: Sequence[Term], begins: int, ends: int, found: int) -> Moment:
    first = words[begins]
    start = first.segment_start if first.start - first.segment_start <= LEAD_SECONDS else first.start - 1
    inside = [
        word
        for word in words
        if first.segment <= word.segment <= words[ends].segment
        and word.end <= start + LONGEST_HIT_SECONDS
        and word.start >= start
    ] or [first]
    return Moment(
        start_seconds=round(max(0.0, start), 3),
        end_seconds=round(min(inside[-1].end, start + LONGEST_HIT_SECONDS), 3),
        words=tuple(word.text for word in inside),
        marked=frozenset(position for position, _ in _matches(inside, terms)),
        terms_found=found,
        span_seconds=words[ends].end - first.start,
    )


def _matches(words: Sequence[TimedWord], terms: Sequence[Term]) -> list[tuple[int, int]]:
    """Return `(position of the word, number of the term)` for every occurrence, in order; a phrase marks each word."""
    found: set[tuple[int, int]] = set()
    parts, place = _parts(words)
    for number, term in enumerate(terms):
        if len(term) == 1:
            fits = str.startswith if is_stem(term) else str.__eq__
            found.update((place[at], number) for at, part in enumerate(parts) if fits(part, term[0]))
        else:
            for at, part in enumerate(parts):
                if part == term[0] and tuple(parts[at : at + len(term)]) == term:
                    found.update((place[at + offset], number) for offset in range(len(term)))
    return sorted(found)


def _parts(words: Sequence[TimedWord]) -> tuple[list[str], list[int]]:
    """Return the parts of all words as search compares them, and the position of the word that each is of."""
    parts: list[str] = []
    place: list[int] = []
    for position, word in enumerate(words):
        for part in normalise(word.text):
            parts.append(part)
            place.append(position)
    return parts, place
