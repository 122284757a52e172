"""Lexical vectors: hashed words, word pairs and character n-grams, of unit length.

Texts that share words are near; meaning beyond the words is not seen. The same text always gives the same vector.
The hashing trick with signed buckets: Weinberger et al., "Feature Hashing for Large Scale Multitask Learning" (2009).
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections import Counter
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

DIMENSIONS = 1536
WORD, PAIR, GRAM = 1.0, 0.6, 0.25  # weights of a word, of two in a row, of a piece of a word
COMMON = 0.15  # share of the weight that a function word keeps
_WORDS = re.compile(r"\w+(?:['\u2019]\w+)?", re.UNICODE)
_FUNCTION_WORDS = (
    "a an and are as at be but by can did do does for from had has have he her his how i if in into is it its me my no"
    " not of on or our she so that the their them then there they this to up us was we were what when where which who"
    " why will with you your"
)
_COMMON = frozenset(_FUNCTION_WORDS.split())


def embed(text: str, dimensions: int = DIMENSIONS, space: str = "") -> list[float]:
    """Return the unit vector of `text`, `dimensions` long; a text without any word gets the first axis.

    Vectors of two spaces have nothing in common, as those of two real models.
    """
    weights: dict[int, float] = {}
    for feature, weight in _features(words_of(text)):
        bucket, sign = _bucket(space + feature)
        index = bucket % dimensions
        weights[index] = weights.get(index, 0.0) + sign * weight
    length = math.sqrt(sum(value * value for value in weights.values()))
    vector = [0.0] * dimensions
    if not length:
        vector[0] = 1.0
        return vector
    for index, value in weights.items():
        vector[index] = value / length
    return vector


def words_of(text: str) -> list[str]:
    """Return the words of `text`, folded so that case, accents and compatibility forms do not matter."""
    folded = unicodedata.normalize("NFKD", text.casefold())
    return _WORDS.findall("".join(sign for sign in folded if not unicodedata.combining(sign)))


def count_tokens(text: str) -> int:
    """Return about how many tokens a model would count: one for every four bytes, at least one."""
    return max(1, math.ceil(len(text.encode()) / 4))


def _features(words: list[str]) -> Iterable[tuple[str, float]]:
    for word, count in Counter(words).items():
        share = (1 + math.log(count)) * (COMMON if word in _COMMON else 1.0)
        yield f"w:{word}", WORD * share
        for gram in _grams(word):
            yield f"g:{gram}", GRAM * share
    for (left, right), count in Counter(pairwise(words)).items():
        is_common = left in _COMMON and right in _COMMON
        yield f"p:{left} {right}", PAIR * (1 + math.log(count)) * (COMMON if is_common else 1.0)


def _grams(word: str) -> list[str]:
    framed = f"<{word}>"
    return [framed[i : i + n] for n in (3, 4) for i in range(len(framed) - n + 1)]


@lru_cache(maxsize=100_000)
def _bucket(feature: str) -> tuple[int, int]:
    number = int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest(), "little")
    return number >> 1, 1 if number & 1 else -1
