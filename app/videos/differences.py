"""What differs between two versions of a transcript, word by word. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from app.lib.alike import changes
from app.lib.words import Word, join_words
from app.videos.cues import Cue

CONTEXT_WORDS = 5
Kind = Literal["changed", "added", "removed", "speaker"]


@dataclass(frozen=True)
class Hunk:
    """One difference. Times in seconds, in the new version where its words are there; texts may be empty.

    Of the kind "speaker", `old` and `new` are names, and the words themselves are the same.
    """

    kind: Kind
    start_seconds: float
    end_seconds: float
    before: str
    old: str
    new: str
    after: str


def compare(old: Sequence[Cue], new: Sequence[Cue]) -> list[Hunk]:
    """Return what makes `new` of `old`, in order of time; times and line breaks alone make no difference."""
    one, two = _words(old), _words(new)
    hunks: list[Hunk] = []
    for tag, i1, i2, j1, j2 in changes([word.text for word, _ in one], [word.text for word, _ in two]):
        if tag == "equal":
            hunks.extend(_speakers(one[i1:i2], two[j1:j2]))
        else:
            hunks.append(_hunk(one[i1:i2], two, j1, j2))
    return hunks


def _words(cues: Sequence[Cue]) -> list[tuple[Word, str]]:
    return [(word, cue.speaker or "") for cue in cues for word in cue.words]


def _hunk(gone: list[tuple[Word, str]], two: list[tuple[Word, str]], j1: int, j2: int) -> Hunk:
    came = two[j1:j2]
    timed = [word for word, _ in came or gone]
    kind: Kind = "changed" if gone and came else "added" if came else "removed"
    return Hunk(
        kind,
        timed[0].start,
        max(word.end for word in timed),
        _text(two[max(0, j1 - CONTEXT_WORDS) : j1]),
        _text(gone),
        _text(came),
        _text(two[j2 : j2 + CONTEXT_WORDS]),
    )


def _speakers(one: list[tuple[Word, str]], two: list[tuple[Word, str]]) -> list[Hunk]:
    """Return where the same words are said by somebody else; neighbouring words make one hunk."""
    hunks: list[Hunk] = []
    begins = 0
    pairs = [(before[1], after[1]) for before, after in zip(one, two, strict=True)]
    for number in range(1, len(pairs) + 1):
        if number < len(pairs) and pairs[number] == pairs[begins]:
            continue
        was, now = pairs[begins]
        if was != now:
            said = [word for word, _ in two[begins:number]]
            after = _text(two[begins : begins + CONTEXT_WORDS])
            hunks.append(Hunk("speaker", said[0].start, max(word.end for word in said), "", was, now, after))
        begins = number
    return hunks


def _text(words: list[tuple[Word, str]]) -> str:
    return join_words([word.text for word, _ in words])
