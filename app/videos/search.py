"""The pure part of search: what a query means, fusing ranks, finding the moment inside a chunk. No database here."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from app.lib.words import Word, clean, is_joined, split_words

MOST_TERMS = 24
MOST_QUERY_CHARACTERS = 300
LONGEST_HIT_SECONDS = 15.0
WINDOW_SECONDS = 10.0  # words of one hit lie this close together
LEAD_SECONDS = 4.0  # a hit starts with its cue, unless the words come later in it than this
FUSION = 60  # k of reciprocal rank fusion: score = sum of 1 / (k + rank) (Cormack, Clarke and Büttcher, SIGIR 2009)
FEWEST_TERMS_SHARE = 0.5  # a chunk with fewer of the words than this is not found by words

_WORD = re.compile(r"[^\W_]+")
_ENDINGS = ("ingly", "ings", "ing", "edly", "ied", "ies", "ed", "es", "ly", "s", "e", "y")
_SHORTEST_STEM = 4
_COMMON = frozenset(
    (  # noqa: SIM905  (a list of 150 strings reads worse)
        "a about also an and any are as at be been but by can could did do does for from had has have he her his how i "
        "if in into is it its just like me my no not of on or our out she should so than that the their them then "
        "there these they this those to up us was we were what when where which who why will with would you your "
        "au aux avec ce ces cet cette dans de des du elle en est et eux il ils je la le les leur lui ma mais mes "
        "mon ne nos notre nous ou où par pas pour qu que qui sa se ses son sur ta te tes ton tu un une vos votre vous"
    ).split()
)

Key = TypeVar("Key", bound=Hashable)
Term = tuple[str, ...]  # one stem, or neighbouring characters of a script without spaces


@dataclass(frozen=True)
class Query:
    """What a person looks for: `terms` without the commonest words, `text` as typed (for the embedding)."""

    text: str
    terms: tuple[Term, ...]

    @property
    def tsquery(self) -> str:
        """Return the terms for to_tsquery('simple', ...): any of them; letters and digits only, so no escapes."""
        return " | ".join(f"({' <-> '.join(term)})" if len(term) > 1 else _lexeme(term[0]) for term in self.terms)


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


def parse(text: str) -> Query:
    """Read what a person typed; hostile lengths are cut, an empty query has no terms."""
    text = " ".join(clean(text).split())[:MOST_QUERY_CHARACTERS]
    words = split_words(text)
    terms: list[Term] = []
    singles: list[Term] = []
    for number, word in enumerate(words):
        after = words[number + 1] if number + 1 < len(words) else ""
        before = words[number - 1] if number else ""
        if after and is_joined(word, after):
            terms.append((*normalise(word), *normalise(after)))
        elif not (before and is_joined(before, word)):
            singles.extend((part,) for part in normalise(word))
    telling = [term for term in singles if term[0] not in _COMMON and (len(term[0]) > 1 or not term[0].isascii())]
    chosen = [(_stem(term[0]),) for term in telling] if telling or terms else singles
    return Query(text, tuple(dict.fromkeys(term for term in [*terms, *chosen] if term))[:MOST_TERMS])


@lru_cache(maxsize=4096)
def normalise(word: str) -> tuple[str, ...]:
    """Return the parts of a word as search compares them: lower case, Latin accents off, letters and digits only."""
    plain = unicodedata.normalize("NFKD", word.casefold())
    plain = "".join(letter for letter in plain if not "\u0300" <= letter <= "\u036f")
    return tuple(_WORD.findall(unicodedata.normalize("NFC", plain)))


def search_text(words: Iterable[str]) -> str:
    """Return what the full-text index of a chunk holds: its words, normalised."""
    return " ".join(part for word in words for part in normalise(word))


def fuse(*rankings: Sequence[Key]) -> dict[Key, float]:
    """Fuse rankings (best first) by reciprocal rank into one score a key."""
    scores: dict[Key, float] = {}
    for ranking in rankings:
        for rank, key in enumerate(ranking, 1):
            scores[key] = scores.get(key, 0.0) + 1 / (FUSION + rank)
    return scores


def count_terms(words: Sequence[TimedWord], terms: Sequence[Term]) -> int:
    """Count how many different terms occur in the words."""
    return len({term for _, term in _matches(words, terms)})


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
    found: list[tuple[int, int]] = []
    normal = [normalise(word.text) for word in words]
    for position, parts in enumerate(normal):
        for number, term in enumerate(terms):
            if len(term) == 1:
                if any(_is_form_of(part, term[0]) for part in parts):
                    found.append((position, number))
            elif parts[-1:] == term[:1] and normal[position : position + len(term)] == [(each,) for each in term]:
                found.extend((position + offset, number) for offset in range(len(term)))
    return sorted(found)


def _is_form_of(part: str, stem: str) -> bool:
    if len(stem) < _SHORTEST_STEM:
        return part == stem
    return part.startswith(stem)


def _stem(word: str) -> str:
    """Cut an ending off, so that "chunk" finds "chunks" and "chunking"; words compare by this beginning."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            return word[: -len(ending)]
    return word


def _lexeme(stem: str) -> str:
    return f"{stem}:*" if len(stem) >= _SHORTEST_STEM else stem
