"""Made-up talks with the statistics that matter to search: common words, words of a subject, passages that repeat.

A word's rank decides how often it is said (Zipf's law), a talk is about two of SUBJECTS subjects, and a vector is that
of the sandbox's embedder without its pairs of words: the sum of the vectors of the words, so that 100,000 of them are
made in a minute. Purely random vectors would measure nothing: no neighbour is nearer than another.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from app.sandbox import embedding

SUBJECTS = 400
WORDS_OF_A_SUBJECT = 60
GENERAL_WORDS = 3_000
COMMON_SHARE, SUBJECT_SHARE = 0.5, 0.25  # of what is said; the rest are general words

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Talks:
    """A source of talks; the same seed makes the same ones."""

    seed: int

    @cached_property
    def words(self) -> list[str]:
        """Return all words: the common ones, the general ones, then those of each subject."""
        dice = random.Random(self.seed)  # noqa: S311
        made = dict.fromkeys(sorted(embedding._COMMON))
        while len(made) < len(embedding._COMMON) + GENERAL_WORDS + SUBJECTS * WORDS_OF_A_SUBJECT:
            syllables = dice.choice((1, 2, 2, 3, 3, 4))
            made[
                "".join(
                    dice.choice(
                        [
                            "b",
                            "c",
                            "d",
                            "f",
                            "g",
                            "h",
                            "l",
                            "m",
                            "n",
                            "p",
                            "r",
                            "s",
                            "t",
                            "v",
                            "w",
                            "br",
                            "st",
                            "tr",
                            "ch",
                        ]
                    )
                    + dice.choice("aeiou")
                    for _ in range(syllables)
                )
                + dice.choice(("", "", "n", "s", "r", "l"))
            ] = None
        return list(made)

    @cached_property
    def vectors(self) -> Vectors:
        """Return the vector of each word, (words, 1536)."""
        made = np.array([embedding.embed(word) for word in self.words], np.float32)
        made[: self._common] *= embedding.COMMON
        return made

    @property
    def _common(self) -> int:
        return len(embedding._COMMON)

    def chunks(self, count: int, words_each: int, talk_of: int = 12, seed: int = 0) -> list[npt.NDArray[np.int64]]:
        """Return the words of `count` chunks by number; `talk_of` of them in a row have their subjects in common."""
        dice = np.random.default_rng((self.seed, seed))
        made = []
        for number in range(count):
            if number % talk_of == 0:
                subjects = dice.choice(SUBJECTS, 2, replace=False)
            made.append(self._say(dice, subjects, words_each))
        return made

    def _say(
        self, dice: np.random.Generator, subjects: npt.NDArray[np.int64], words_each: int
    ) -> npt.NDArray[np.int64]:
        kind = dice.random(words_each)
        common = _zipf(dice, self._common, words_each)
        general = self._common + _zipf(dice, GENERAL_WORDS, words_each)
        subject = subjects[(dice.random(words_each) < 0.3).astype(int)]
        first = self._common + GENERAL_WORDS
        own = first + subject * WORDS_OF_A_SUBJECT + _zipf(dice, WORDS_OF_A_SUBJECT, words_each)
        return np.where(kind < COMMON_SHARE, common, np.where(kind < COMMON_SHARE + SUBJECT_SHARE, own, general))

    def embed(self, chunks: list[npt.NDArray[np.int64]]) -> Vectors:
        """Return the unit vectors of chunks, (chunks, 1536)."""
        found = np.empty((len(chunks), embedding.DIMENSIONS), np.float32)
        for row, chunk in enumerate(chunks):
            numbers, times = np.unique(chunk, return_counts=True)
            found[row] = (1 + np.log(times)).astype(np.float32) @ self.vectors[numbers]
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    def text(self, chunk: npt.NDArray[np.int64]) -> str:
        """Return what is said in a chunk."""
        return " ".join(self.words[number] for number in chunk)

    def queries(self, chunks: list[npt.NDArray[np.int64]], count: int) -> list[str]:
        """Return what people look for: three to seven words that were said in a row, some of them telling."""
        dice = random.Random(self.seed + 1)  # noqa: S311
        made: list[str] = []
        while len(made) < count:
            chunk = dice.choice(chunks)
            length = dice.randint(3, 7)
            start = dice.randrange(len(chunk) - length)
            passage = chunk[start : start + length]
            if (passage >= self._common).sum() >= 2:
                made.append(self.text(passage))
        return made


def _zipf(dice: np.random.Generator, words: int, count: int) -> npt.NDArray[np.int64]:
    shares = 1 / np.arange(2, words + 2)
    return dice.choice(words, count, p=shares / shares.sum())
