"""Made-up talks with the statistics that matter to search: common words, words of a subject, passages that repeat.

A word's rank decides how often it is said (Zipf's law), and a talk is about two of SUBJECTS subjects. Vectors are like
those of a real model: all that they say lies in MEANINGS directions out of 1536, talks about one subject are near each
other, and the rest is noise. Purely random ones would measure nothing: no neighbour is nearer than another.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

DIMENSIONS = 1536
MEANINGS = 64
SUBJECTS = 400
WORDS_OF_A_SUBJECT = 60
GENERAL_WORDS = 3_000
COMMON_WORDS = [
    "the",
    "of",
    "and",
    "a",
    "to",
    "in",
    "is",
    "that",
    "it",
    "for",
    "was",
    "on",
    "are",
    "as",
    "with",
    "his",
    "they",
    "at",
    "be",
    "this",
    "from",
    "have",
    "or",
    "by",
    "one",
    "had",
    "not",
    "but",
]
COMMON_SHARE, SUBJECT_SHARE = 0.5, 0.25  # of what is said; the rest are general words
OF_A_TALK, OF_A_CHUNK, OF_A_QUESTION = 0.5, 0.6, 0.6  # how far each strays in meaning from what it belongs to
NOISE = 0.35

Numbers = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Talks:
    """A source of talks; the same seed makes the same ones."""

    seed: int

    @cached_property
    def words(self) -> list[str]:
        """Return all words: the common ones, the general ones, then those of each subject."""
        dice = np.random.default_rng(self.seed)
        starts, vowels = (
            ["b", "c", "d", "f", "g", "h", "l", "m", "n", "p", "r", "s", "t", "v", "w", "br", "st", "tr", "ch"],
            ["a", "e", "i", "o", "u"],
        )
        made = dict.fromkeys(COMMON_WORDS)
        while len(made) < len(COMMON_WORDS) + GENERAL_WORDS + SUBJECTS * WORDS_OF_A_SUBJECT:
            syllables = dice.choice((2, 2, 3, 3, 4))
            made["".join(dice.choice(starts) + dice.choice(vowels) for _ in range(syllables))] = None
        return list(made)

    @cached_property
    def directions(self) -> Vectors:
        """Return what the vectors are made of: orthonormal directions, (MEANINGS, 1536)."""
        dice = np.random.default_rng(self.seed)
        return np.linalg.qr(dice.standard_normal((DIMENSIONS, MEANINGS)))[0].T.astype(np.float32)

    @cached_property
    def subjects(self) -> Vectors:
        """Return what each subject means, (SUBJECTS, MEANINGS)."""
        return self._stray(np.random.default_rng(self.seed + 1), (SUBJECTS, MEANINGS))

    def chunks(self, count: int, words_each: int, talk_of: int, seed: int) -> tuple[Numbers, Vectors]:
        """Return the words of chunks by number, (count, words_each), and what each means, (count, MEANINGS)."""
        dice = np.random.default_rng((self.seed, seed))
        talks = -(-count // talk_of)
        about = dice.integers(0, SUBJECTS, (talks, 2))
        means = self.subjects[about].mean(axis=1) + OF_A_TALK * self._stray(dice, (talks, MEANINGS))
        of = np.repeat(np.arange(talks), talk_of)[:count]
        means = means[of] + OF_A_CHUNK * self._stray(dice, (count, MEANINGS))
        said = np.stack([self._say(dice, about[talk], words_each) for talk in of])
        return said, means.astype(np.float32)

    def vectors(self, means: Vectors, seed: int) -> Vectors:
        """Return unit vectors, (rows, 1536)."""
        dice = np.random.default_rng((self.seed, seed, 1))
        plain = means / np.linalg.norm(means, axis=1, keepdims=True) @ self.directions
        found = plain + NOISE / DIMENSIONS**0.5 * dice.standard_normal(plain.shape, np.float32)
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)

    def text(self, chunk: Numbers) -> str:
        """Return what is said in a chunk."""
        return " ".join(self.words[number] for number in chunk)

    def questions(self, said: Numbers, means: Vectors, count: int) -> tuple[list[str], Vectors]:
        """Return what people look for: some words said in a row, two of them telling, and the vectors of that."""
        dice = np.random.default_rng(self.seed + 2)
        texts: list[str] = []
        about: list[int] = []
        while len(texts) < count:
            row, length = int(dice.integers(len(said))), int(dice.integers(3, 8))
            start = int(dice.integers(said.shape[1] - length))
            passage = said[row, start : start + length]
            if (passage >= len(COMMON_WORDS)).sum() >= 2:
                texts.append(self.text(passage))
                about.append(row)
        asked = means[about] + OF_A_QUESTION * self._stray(dice, (count, MEANINGS))
        return texts, self.vectors(asked.astype(np.float32), self.seed + 3)

    def _say(self, dice: np.random.Generator, subjects: Numbers, count: int) -> Numbers:
        kind = dice.random(count)
        general = len(COMMON_WORDS)
        subject = subjects[(dice.random(count) < 0.3).astype(int)]
        own = general + GENERAL_WORDS + subject * WORDS_OF_A_SUBJECT + _zipf(dice, WORDS_OF_A_SUBJECT, count)
        other = np.where(kind < COMMON_SHARE + SUBJECT_SHARE, own, general + _zipf(dice, GENERAL_WORDS, count))
        return np.where(kind < COMMON_SHARE, _zipf(dice, len(COMMON_WORDS), count), other)

    def _stray(self, dice: np.random.Generator, shape: tuple[int, int]) -> Vectors:
        """Return random meanings; as with real models, a few directions tell most."""
        return np.asarray(dice.standard_normal(shape) / np.sqrt(1 + np.arange(MEANINGS) / 8), np.float32)


def _zipf(dice: np.random.Generator, words: int, count: int) -> Numbers:
    shares = 1 / np.arange(2, words + 2)
    return dice.choice(words, count, p=shares / shares.sum())
