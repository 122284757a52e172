"""The operations of an edit: what may be done to the cues of a transcript, with values that are clean. Pure.

`cue` is a position in the list, from 0. How they look as JSON: docs/reference/transcript-editing.md.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SetText:
    """Give a cue other words."""

    cue: int
    text: str


@dataclass(frozen=True)
class SetTimes:
    """Give a cue other times, in seconds."""

    cue: int
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True)
class Split:
    """Make two cues of one; word number `at` begins the second one."""

    cue: int
    at: int


@dataclass(frozen=True)
class Merge:
    """Make one cue of this one and the next."""

    cue: int


@dataclass(frozen=True)
class SetSpeaker:
    """Say who speaks (None: not known) from `cue` through `through`, both included; None: only this cue."""

    cue: int
    speaker: str | None
    through: int | None = None


@dataclass(frozen=True)
class RenameSpeaker:
    """Give a speaker another name, everywhere; None takes it away."""

    speaker: str
    to: str | None


@dataclass(frozen=True)
class Delete:
    """Remove a cue."""

    cue: int


@dataclass(frozen=True)
class Insert:
    """Put a new cue at this position."""

    cue: int
    start_seconds: float
    end_seconds: float
    text: str
    speaker: str | None = None


@dataclass(frozen=True)
class Replace:
    """Replace every occurrence of `find`, letter by letter, inside the cues."""

    find: str
    by: str
    match_case: bool = False
    whole_words: bool = False


Operation = SetText | SetTimes | Split | Merge | SetSpeaker | RenameSpeaker | Delete | Insert | Replace
