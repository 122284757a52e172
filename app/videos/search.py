"""The pure part of search: what a query means, how well a chunk's words answer it, fusing ranks. No database here."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from app.lib.words import clean, is_joined, split_words

MOST_TERMS = 24
MOST_QUERY_CHARACTERS = 300
TELLING_TERMS = 6  # so many choose the chunks that are looked at; all of them rank those
WINDOW_CHARACTERS = 160  # what is said in about ten seconds
FUSION = 60  # k of reciprocal rank fusion: score = sum of 1 / (k + rank) (Cormack, Clarke and Büttcher, SIGIR 2009)
FEWEST_TERMS_SHARE = 0.5  # a chunk with fewer of the words than this is not found by words

SHORTEST_STEM = 4

_WORD = re.compile(r"[^\W_]+")
_QUOTED = re.compile(r'"([^"]*)"|“([^”]*)”|„([^“”]*)[“”]|«([^»]*)»|「([^」]*)」|『([^』]*)』')
_LETTERS = str.maketrans({"œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "đ": "d"})  # not decomposed by NFKD
_ENDINGS = ("ingly", "ings", "ing", "edly", "ied", "ies", "ed", "es", "ly", "s", "e", "y")
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
    """What a person looks for.

    `text` is what was typed, without quotation marks (for the embedding); `terms` are its words but for the commonest;
    `phrases`, those of them that stood in quotation marks, must all be said word for word.
    """

    text: str
    terms: tuple[Term, ...]
    phrases: tuple[Term, ...] = ()

    @property
    def tiers(self) -> list[str]:
        """Return texts for to_tsquery('simple', ...), from all the words down to half of them.

        Whoever takes the first chunks of the first tier that has enough never ranks all those that hold a common word.
        The longest words stay longest: they are the rarest. And all are joined by "and", for which an index skips what
        the rarest word is not in. Letters and digits only, so nothing needs an escape.
        """
        must = [_tsquery(term) for term in self.phrases]
        free = sorted((term for term in self.terms if term not in self.phrases), key=lambda term: -len(" ".join(term)))
        some = [_tsquery(term) for term in free[:TELLING_TERMS]]
        fewest = math.ceil(len(some) * FEWEST_TERMS_SHARE)
        found = [[*must, *some[:size]] for size in range(len(some), fewest, -1)]
        # At the end those with half of the words; of one word or two each by itself, else with either the longest ones
        # or the others.
        halves = [some[:fewest], some[-fewest:]] if some else []
        found += [[*must, *half] for half in halves]
        if must:
            found.append(must)
        return list(dict.fromkeys(" & ".join(each) for each in found if each))


@dataclass(frozen=True)
class Match:
    """How well a text answers: different terms in it, those within WINDOW_CHARACTERS and their span, occurrences."""

    terms: int
    near: int
    span: int
    occurrences: int


def parse(text: str) -> Query:
    """Read what a person typed; hostile lengths are cut, an empty query has no terms."""
    text = " ".join(clean(text).split())[:MOST_QUERY_CHARACTERS]
    phrases = [_phrase(next(filter(None, found.groups()), "")) for found in _QUOTED.finditer(text)]
    phrases = [phrase for phrase in dict.fromkeys(phrases) if phrase][:MOST_TERMS]
    free = _terms(_QUOTED.sub(" ", text), is_alone=not phrases)
    terms = tuple(dict.fromkeys([*phrases, *free]))[:MOST_TERMS]
    return Query(" ".join(_QUOTED.sub(_bare, text).split()), terms, tuple(phrases))


def _phrase(text: str) -> Term:
    return tuple(part for word in split_words(text) for part in normalise(word))


def _bare(found: re.Match[str]) -> str:
    return next(filter(None, found.groups()), "")


def _terms(text: str, *, is_alone: bool) -> list[Term]:
    """Return the words; the commonest too, when there is nothing else (`is_alone`: no phrase either)."""
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
    chosen = [(_stem(term[0]),) for term in telling] if telling or terms or not is_alone else singles
    return [term for term in [*terms, *chosen] if term]


@lru_cache(maxsize=4096)
def normalise(word: str) -> tuple[str, ...]:
    """Return the parts of a word as search compares them: lower case, Latin accents off, letters and digits only."""
    if word.isascii():
        return tuple(_WORD.findall(word.lower()))
    plain = unicodedata.normalize("NFKD", word.casefold().translate(_LETTERS))
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


def match(text: str, terms: Sequence[Term]) -> Match:
    """Look for the terms in a chunk's `search_text`."""
    padded = f" {text} "
    places = sorted(
        (found.start(), found.end(), number)
        for number, term in enumerate(terms)
        for found in _pattern(term).finditer(padded)
    )
    near, span, first = 0, 0, 0
    for last, (_, ends, _) in enumerate(places):
        while ends - places[first][0] > WINDOW_CHARACTERS and first < last:
            first += 1
        here = len({number for _, _, number in places[first : last + 1]})
        width = ends - places[first][0]
        if here > near or (here == near and width < span):
            near, span = here, width
    return Match(len({number for _, _, number in places}), near, span, len(places))


def has_all(text: str, phrases: Sequence[Term]) -> bool:
    """Tell whether each phrase is said in a chunk's `search_text`."""
    return all(_pattern(phrase).search(f" {text} ") for phrase in phrases)


def has_part(text: str, terms: Sequence[Term]) -> bool:
    """Tell whether any word of the terms is in a `search_text`: a phrase may go on in the next one."""
    padded = f" {text} "
    return any(_pattern((part,) if len(term) == 1 else (part, "")).search(padded) for term in terms for part in term)


@lru_cache(maxsize=1024)
def _pattern(term: Term) -> re.Pattern[str]:
    """Match what `_tsquery` finds, in a text of letters, digits and single spaces, with one at either end.

    It begins with plain characters, for which a text is searched many times faster than for a boundary.
    """
    return re.compile(f" {term[0]}" if is_stem(term) else f" {' '.join(filter(None, term))}(?= )")


def is_stem(term: Term) -> bool:
    """Tell whether a term finds every word that begins with it, and not only itself."""
    return len(term) == 1 and len(term[0]) >= SHORTEST_STEM


def _stem(word: str) -> str:
    """Cut an ending off, so that "chunk" finds "chunks" and "chunking"; words compare by this beginning."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= SHORTEST_STEM:
            return word[: -len(ending)]
    return word


def _tsquery(term: Term) -> str:
    if len(term) > 1:
        return f"({' <-> '.join(term)})"
    return f"{term[0]}:*" if is_stem(term) else term[0]
