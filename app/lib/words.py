"""Words of any script: cutting text into them and putting them together again.

Scripts written without spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese) count one word a character, so that
everything which measures text in words (cues, chunks, search) is bounded for them too.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

LONGEST_WORD = 42  # characters; a longer run without a space is cut, else one "word" could fill a page

_NO_SPACE = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0edf\u1000-\u109f\u1780-\u17d3\u2e80-\u2fdf\u3005-\u3007\u3021-\u30ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_TOKEN = re.compile(f"[{_NO_SPACE}]|[^{_NO_SPACE}]+")
_STARTS_WITHOUT_SPACE = re.compile(f"[{_NO_SPACE}]")
_CLOSING = frozenset("、。，．！？：；）」』】》〉…ー・”’")  # noqa: RUF001  (meant)
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\ufffe\uffff]|[\ud800-\udfff]")

SENTENCE_END = re.compile(r"[.!?…。！？؟।][\"'”’)\]」』】]*$")  # noqa: RUF001  (meant)


@dataclass(frozen=True)
class Word:
    """One spoken word, as it is written. Times in seconds of the recording; `confidence` 0..1, None when not known."""

    text: str
    start: float
    end: float
    confidence: float | None = None


def clean(text: str) -> str:
    """Return `text` without control characters (PostgreSQL refuses NUL) and in composed form (NFC)."""
    return unicodedata.normalize("NFC", _CONTROL.sub("", text))


def split_words(text: str) -> list[str]:
    """Cut `text` into words: at white space, and in scripts without spaces after every character.

    Marks and closing punctuation stay with the character before them. No word is longer than LONGEST_WORD.
    """
    words: list[str] = []
    for token in text.split():
        if token.isascii() and len(token) <= LONGEST_WORD:  # most of them, and most of the time saved
            words.append(token)
            continue
        for found in _TOKEN.finditer(token):
            part = found.group()
            if words and found.start() and (part[0] in _CLOSING or unicodedata.category(part[0])[0] == "M"):
                head = _leading_marks(part)
                words[-1] += part[:head]
                part = part[head:]
            words.extend(part[i : i + LONGEST_WORD] for i in range(0, len(part), LONGEST_WORD))
    return words


def _leading_marks(part: str) -> int:
    for position, character in enumerate(part):
        if character not in _CLOSING and unicodedata.category(character)[0] != "M":
            return position
    return len(part)


def is_joined(before: str, after: str) -> bool:
    """Tell whether two neighbouring words are written without a space between them."""
    return bool(
        before
        and after
        and _STARTS_WITHOUT_SPACE.match(after)
        and (before[-1] in _CLOSING or _STARTS_WITHOUT_SPACE.match(before[-1]) or unicodedata.combining(before[-1]))
    )


def join_words(words: list[str]) -> str:
    """Write words as running text: the inverse of `split_words` but for repeated and unusual spaces."""
    parts: list[str] = []
    for number, word in enumerate(words):
        if number and not is_joined(words[number - 1], word):
            parts.append(" ")
        parts.append(word)
    return "".join(parts)


def count_tokens(text: str) -> int:
    """Estimate the tokens a model counts for `text`, rather too many than too few.

    Byte-pair vocabularies spend about one token on four Latin letters and one to two on a character of other
    scripts; the estimate takes three letters and two tokens.
    """
    plain = sum(1 for character in text if character < "\u0250")
    return plain // 3 + 2 * (len(text) - plain) + 1


def ends_sentence(word: str) -> bool:
    """Tell whether a sentence ends with this word."""
    return bool(SENTENCE_END.search(word))
