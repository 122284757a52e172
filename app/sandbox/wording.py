"""From recognised words to readable text: sentences from pauses, capitals, and doubtful rude words masked."""

from __future__ import annotations

import math
from dataclasses import dataclass

from app.sandbox.recognition import Heard

SENTENCE_PAUSE = 0.45  # seconds of quiet that end a sentence
LONGEST_SENTENCE = 28  # words; after that a shorter pause will do
SHORT_PAUSE = 0.2
SURE = 0.9  # a rude word heard with less confidence than this is more likely a mistake
MASK = "***"
_RUDE = ("fuck", "shit", "cunt", "bitch", "bastard", "asshole", "nigger", "nigga", "faggot", "whore", "slut", "dick")


@dataclass(frozen=True)
class Said:
    """One word, as it is shown."""

    word: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True)
class Sentence:
    """Words between two pauses."""

    words: tuple[Said, ...]

    @property
    def text(self) -> str:
        """Return the sentence with its capital and full stop."""
        text = " ".join(word.word for word in self.words)
        return f"{text[0].upper()}{text[1:]}."

    @property
    def average_logarithm(self) -> float:
        """Return the mean natural logarithm of the words' confidences."""
        return sum(math.log(max(word.confidence, 1e-3)) for word in self.words) / len(self.words)


def sentences(heard: Heard) -> list[Sentence]:
    """Return what was heard as sentences."""
    groups: list[list[Said]] = []
    for word, start, end, confidence in heard.words:
        said = Said(_shown(word, confidence), start, end, confidence)
        if not groups or _ends(groups[-1], start):
            groups.append([said])
        else:
            groups[-1].append(said)
    return [Sentence(tuple(group)) for group in groups]


def _ends(group: list[Said], next_start: float) -> bool:
    pause = next_start - group[-1].end
    return pause >= (SENTENCE_PAUSE if len(group) < LONGEST_SENTENCE else SHORT_PAUSE)


def _shown(word: str, confidence: float) -> str:
    if confidence < SURE and word.startswith(_RUDE):
        return MASK
    return f"I{word[1:]}" if word == "i" or word.startswith("i'") else word
