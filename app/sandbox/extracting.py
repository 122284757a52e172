"""What a text says in few words: telling sentences, telling phrases, and where its subject changes. Pure.

Everything is counted, nothing understood. The same text always gives the same.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from app.sandbox.embedding import words_of

_NUMBERED = re.compile(r"^\s*\[?(\d{1,7})[\]:.)]\s+(\S.*)$")
_BLOCK = re.compile(r"<([a-z][a-z_-]*)>\n(.*?)\n</\1>", re.DOTALL)
_SENTENCE = re.compile(r"[^.!?\u3002\uff01\uff1f]+[.!?\u3002\uff01\uff1f]*[\"')\]\u201d]*\s*")
_CLAUSE = re.compile(r"[,;:()\u2014\u2013]\s*")
_LONGEST_SENTENCE = 40  # words; speech without punctuation is cut there
_EMPTY = (
    "a about after again all also always am an and another any anything are as at back be because been before"
    " being better between both but by can come could did do does doing done down each even ever every few first"
    " for from get gets give go goes going good got had has have having he her here him his how i i'm i've if in"
    " into is isn't it it's its just keep know last less let let's like little long look lot made make makes many"
    " may maybe me might more most much must my never new next no nobody not nothing now of off often okay on"
    " once one only or other our out over own part people put quite rather really right said same say says see"
    " seem she should so some something sometimes still such take than that that's the their them then there"
    " there's these they they're thing things think this those though through to today together too two um under"
    " until up upon us very want was way we we'll we're well went were what when where whether which while who"
    " why will with without would yes yet you you'll you're your"
)
_EMPTY_WORDS = frozenset(_EMPTY.split())
MOST_BLOCKS = 80  # among whose beginnings the cuts are sought
CHAPTER_WORDS = 80  # about how many words one chapter has, when nobody says how many chapters there are
MOST_CHAPTERS = 12


@dataclass(frozen=True)
class Line:
    """One line of a text; `number` as it is written before it, or its place."""

    number: int
    text: str


@dataclass(frozen=True)
class Text:
    """A text as lines, and what is telling in it. `weights` are those of the whole that this is a part of."""

    lines: tuple[Line, ...]
    is_numbered: bool = False
    whole: Text | None = field(default=None, repr=False)

    @classmethod
    def of(cls, prompt: str) -> Text:
        """Read a prompt: what stands between <tags> when something does, with the numbers before its lines."""
        blocks = [found[2] for found in _BLOCK.finditer(prompt)]
        lines = [line for line in "\n".join(blocks or [prompt]).splitlines() if line.strip()]
        numbered = [found for line in lines if (found := _NUMBERED.match(line))]
        if numbered and len(numbered) * 2 > len(lines):
            return cls(tuple(Line(int(found[1]), found[2].strip()) for found in numbered), is_numbered=True)
        return cls(tuple(Line(place, line.strip()) for place, line in enumerate(lines)))

    @property
    def weights(self) -> Counter[str]:
        """Return how often each word that carries meaning occurs in the whole text."""
        return self.whole.counts if self.whole is not None else self.counts

    @cached_property
    def counts(self) -> Counter[str]:
        """Return how often each word that carries meaning occurs here."""
        words = words_of(" ".join(line.text for line in self.lines))
        return Counter(word for word in words if is_telling(word))

    @cached_property
    def sentences(self) -> list[str]:
        """Return its sentences in order, each once."""
        found: list[str] = []
        for match in _SENTENCE.finditer(" ".join(line.text for line in self.lines)):
            words = match[0].split()
            found += [" ".join(words[at : at + _LONGEST_SENTENCE]) for at in range(0, len(words), _LONGEST_SENTENCE)]
        return list(dict.fromkeys(sentence for sentence in found if any(map(str.isalnum, sentence))))

    def best_sentences(self, count: int) -> list[str]:
        """Return the most telling sentences, best first."""
        ranked = sorted(enumerate(self.sentences), key=lambda item: (-self._score(item[1]), item[0]))
        return [sentence for _, sentence in ranked[:count]]

    def summary(self, count: int) -> list[str]:
        """Return the most telling sentences in the order in which they stand."""
        chosen = set(self.best_sentences(count))
        return [sentence for sentence in self.sentences if sentence in chosen]

    def phrases(self, count: int) -> list[str]:
        """Return telling phrases of one to four words, best first, none of which repeats another's words."""
        scores: dict[tuple[str, ...], float] = {}
        for clause in (clause for sentence in self.sentences for clause in _CLAUSE.split(sentence)):
            words = [word.strip(".,;:!?\"'()[]\u201c\u201d\u2026") for word in clause.split()]
            for length in (1, 2, 3, 4):
                for at in range(len(words) - length + 1):
                    self._count_phrase(tuple(words[at : at + length]), scores)
        ranked = sorted(scores, key=lambda phrase: (-scores[phrase], phrase))
        return _without_repeats(ranked, count)

    def chapters(self, least: int, most: int) -> list[Text]:
        """Cut the text where its words change most: from `least` to `most` parts."""
        total = sum(len(line.text.split()) for line in self.lines)
        wanted = max(least, min(most, MOST_CHAPTERS, max(1, round(total / CHAPTER_WORDS))))
        starts = sorted([0, *self._changes(min(wanted, len(self.lines)) - 1)])
        ends = [*starts[1:], len(self.lines)]
        return [
            Text(self.lines[start:end], self.is_numbered, self.whole or self)
            for start, end in zip(starts, ends, strict=True)
            if start < end
        ]

    def _changes(self, count: int) -> list[int]:
        """Return the places of the lines before which a new part begins.

        Of all ways to cut the text into so many parts, that whose parts are each most of one vocabulary: the cheapest
        by the code length of each part's words under its own counts (after Utiyama and Isahara, 2001), by dynamic
        programming over at most MOST_BLOCKS blocks of lines.
        """
        blocks = self._blocks()
        if count < 1 or len(blocks) < count + 1:
            return [place for place, _ in blocks[1 : count + 1]]
        costs = _costs([words for _, words in blocks])
        best: list[tuple[float, list[int]]] = [(costs[0][end], []) for end in range(len(blocks))]
        for _ in range(count):
            best = [
                min(
                    ((best[cut][0] + costs[cut + 1][end], [*best[cut][1], cut + 1]) for cut in range(end)),
                    default=(math.inf, []),
                )
                for end in range(len(blocks))
            ]
        return [blocks[number][0] for number in best[-1][1]]

    def _blocks(self) -> list[tuple[int, list[str]]]:
        """Return `(place of its first line, its telling words)`; a block ends with a sentence where it can."""
        size = max(1, math.ceil(len(self.lines) / MOST_BLOCKS))
        blocks: list[tuple[int, list[str]]] = []
        length, is_whole = 0, True
        for place, line in enumerate(self.lines):
            if not blocks or (length >= size and (is_whole or length >= 2 * size + 2)):
                blocks.append((place, []))
                length = 0
            blocks[-1][1].extend(_stem(word) for word in words_of(line.text) if is_telling(word))
            length += 1
            is_whole = line.text.rstrip().endswith((".", "!", "?", "\u3002"))
        return blocks

    def _score(self, sentence: str) -> float:
        words = words_of(sentence)
        telling = {word for word in words if is_telling(word)}
        if not telling:
            return 0.0
        fits = 1.0 if 7 <= len(words) <= 30 else 0.6  # noqa: PLR2004
        return fits * sum(1 + math.log(max(1, self.weights[word])) for word in telling) / math.sqrt(len(words) + 4)

    def _count_phrase(self, phrase: tuple[str, ...], scores: dict[tuple[str, ...], float]) -> None:
        folded = [" ".join(words_of(word)) for word in phrase]
        if not all(folded) or not (is_telling(folded[0]) and is_telling(folded[-1])):
            return
        if len(folded) > 1 and len(set(folded)) < len(folded):
            return
        telling = [word for word in folded if is_telling(word)]
        # What is said here more than elsewhere tells most; of one word alone one learns little.
        weight = sum(
            math.log(1 + self.counts[word]) * self.counts[word] / max(1, self.weights[word]) for word in telling
        )
        length = len(phrase) ** 0.5 if len(phrase) > 1 else 2.5
        scores[phrase] = scores.get(phrase, 0.0) + weight / length


def _costs(blocks: list[list[str]]) -> list[list[float]]:
    """Return what the part from each block to each later one costs."""
    kinds = len({word for block in blocks for word in block}) or 1
    found = []
    for start in range(len(blocks)):
        counts: Counter[str] = Counter()
        total, row = 0, [math.inf] * start
        for block in blocks[start:]:
            counts.update(block)
            total += len(block)
            row.append(sum(n * math.log((total + kinds) / (n + 1)) for n in counts.values()) + math.log(kinds + 1))
        found.append(row)
    return found


def is_telling(word: str) -> bool:
    """Tell whether a word carries meaning by itself."""
    return word not in _EMPTY_WORDS and (len(word) > 2 or not word.isascii()) and not word.isdigit()  # noqa: PLR2004


def _stem(word: str) -> str:
    return word[:5]


def _without_repeats(ranked: Sequence[tuple[str, ...]], count: int) -> list[str]:
    chosen: list[str] = []
    seen: set[str] = set()
    for phrase in ranked:
        stems = {_stem(word) for part in phrase for word in words_of(part) if is_telling(word)}
        if len(chosen) < count and not stems & seen:
            chosen.append(" ".join(phrase))
            seen |= stems
    return chosen
