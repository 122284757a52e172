"""What a person does to the cues of a transcript, one operation after the other. Pure.

Whatever is done: the words of a cue are those of its text, cues stay in the order of their starts, words in that of
theirs, and no cue is made to reach further into a neighbour than it did before.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace

from app.errors import Invalid
from app.lib.text import pluralise
from app.lib.words import join_words, split_words
from app.videos import retiming
from app.videos.cues import LINE_CHARACTERS, LINES, LONGEST_SECONDS, Cue, wrap
from app.videos.operations import (
    Delete,
    Insert,
    Merge,
    Operation,
    RenameSpeaker,
    Replace,
    SetSpeaker,
    SetText,
    SetTimes,
    Split,
)

LONG = "long"  # the flag of a cue that does not fit two lines or 5.5 seconds: shown, not refused
MOST_CUES = 50_000
MOST_CUE_CHARACTERS = 1_000
MOST_CUE_SECONDS = 60.0
FEWEST_CUE_SECONDS = 0.1
MOST_LOOKS = 2_000_000  # cues that all operations of one request look at
SLACK_SECONDS = 0.0005  # times are kept in milliseconds


class Refused(Invalid):
    """An operation cannot be done; `fields` names it by its number, from 1."""

    def __init__(self, number: int, sentence: str) -> None:
        super().__init__(f"Operation {number}: {sentence} Nothing was saved.", {f"operations/{number}": sentence})


class _No(Exception):
    """Why an operation cannot be done."""


def apply(cues: Sequence[Cue], operations: Sequence[Operation], *, duration_seconds: float) -> list[Cue]:
    """Return the cues after all operations.

    Args:
        cues: the transcript's, in order; they are not changed.
        operations: in their order; each counts cues as they are by then.
        duration_seconds: of the recording; no cue is put behind its end.

    Raises:
        Refused: one of them cannot be done; the message names it.
    """
    work = _Work(list(cues), duration_seconds)
    for number, operation in enumerate(operations, 1):
        try:
            work.do(operation)
        except _No as error:
            raise Refused(number, str(error)) from None
    return work.cues


def count_changed(before: Sequence[Cue], after: Sequence[Cue]) -> int:
    """Return how many cues were changed, made or removed; one that is the same object on both sides was not."""
    old, new = {id(cue) for cue in before}, {id(cue) for cue in after}
    return max(len(new - old), len(old - new))


def describe(operations: Sequence[Operation], before: Sequence[Cue], after: Sequence[Cue]) -> str:
    """Return what was done, for the list of versions: "12 cues changed"."""
    count = pluralise(count_changed(before, after), "cue")
    match operations:
        case [Replace() as only]:
            return f"“{_short(only.find)}” replaced by “{_short(only.by)}” in {count}"
        case [RenameSpeaker() as only]:
            return f"Speaker {_short(only.speaker)} renamed to {_short(only.to or 'nobody')} in {count}"
        case _:
            return f"{count} changed"


def is_long(cue: Cue) -> bool:
    """Tell whether a cue is longer than two lines of 42 characters or 5.5 seconds."""
    lines = cue.text.split("\n")
    is_wide = len(lines) > LINES or any(len(line) > LINE_CHARACTERS for line in lines)
    return is_wide or cue.end - cue.start > LONGEST_SECONDS + SLACK_SECONDS


def marked(cue: Cue) -> Cue:
    """Return the cue with the flag LONG, if and only if it is."""
    flags = tuple(flag for flag in cue.flags if flag != LONG) + ((LONG,) if is_long(cue) else ())
    return cue if flags == cue.flags else replace(cue, flags=flags)


class _Work:
    """The cues on their way through the operations."""

    def __init__(self, cues: list[Cue], duration_seconds: float) -> None:
        self.cues = cues
        # Captions of a file may reach beyond its end, and what was there may stay there.
        self.latest = max([duration_seconds, *(cue.end for cue in cues[-1:])])
        self.looks = 0

    def do(self, operation: Operation) -> None:
        """Do one operation."""
        verb: Callable[..., None] = _VERBS[type(operation)]
        verb(self, operation)

    def set_text(self, given: SetText) -> None:
        cue = self._cue(given.cue)
        if not given.text:
            raise _No(f"Cue {given.cue} would have no text. Delete it instead.")
        if split_words(given.text) != [word.text for word in cue.words]:
            # Who has rewritten a cue has looked at it: a recogniser's doubts about it are over.
            self._put(given.cue, _rewritten(replace(cue, flags=()), given.text))

    def set_times(self, given: SetTimes) -> None:
        cue = self._cue(given.cue)
        new = (given.start_seconds, given.end_seconds)
        self._check_times(*new, self._room(given.cue, cue))
        following = self.cues[given.cue + 1 : given.cue + 2]
        if following and new[0] > following[0].start:  # captions may overlap, but stay in the order of their starts
            raise _No(f"It would start after cue {given.cue + 1} does.")
        if new != (cue.start, cue.end):
            words = retiming.move(cue.words, (cue.start, cue.end), new)
            self._put(given.cue, replace(cue, start=new[0], end=new[1], words=words))

    def split(self, given: Split) -> None:
        cue = self._cue(given.cue)
        if not 1 <= given.at < len(cue.words):
            raise _No(f"Cue {given.cue} has {pluralise(len(cue.words), 'word')}; it cannot be split at {given.at}.")
        words = cue.words
        if not cue.start < words[given.at].start < cue.end:
            # Its words have no times that could divide it: by their characters, then.
            spread = retiming.share([word.text for word in words], cue.start, cue.end)
            words = tuple(replace(new, confidence=old.confidence) for new, old in zip(spread, words, strict=True))
        border = words[given.at].start
        end = min(border, max(cue.start, *(word.end for word in words[: given.at])))
        first = _wrapped(replace(cue, end=end, words=words[: given.at]))
        second = _wrapped(replace(cue, start=border, end=max(border, cue.end), words=words[given.at :]))
        self.cues[given.cue : given.cue + 1] = [first, second]
        self._check_count()

    def merge(self, given: Merge) -> None:
        first = self._cue(given.cue)
        if given.cue + 1 >= len(self.cues):
            raise _No(f"Cue {given.cue} is the last one; there is none to merge it with.")
        second = self.cues[given.cue + 1]
        end = max(first.end, second.end)
        if end - first.start > MOST_CUE_SECONDS:
            raise _No(f"Cues {given.cue} and {given.cue + 1} together would last longer than {MOST_CUE_SECONDS:.0f} s.")
        words = retiming.ordered([*first.words, *second.words])
        flags = tuple(dict.fromkeys([*first.flags, *second.flags]))
        speaker = first.speaker or second.speaker
        both = _wrapped(replace(first, end=end, words=words, flags=flags, speaker=speaker))
        _check_length(both.text)
        self.cues[given.cue : given.cue + 2] = [both]

    def set_speaker(self, given: SetSpeaker) -> None:
        self._cue(given.cue)
        through = given.cue if given.through is None else given.through
        self._cue(through)
        if through < given.cue:
            raise _No("“through” is before “cue”.")
        self._look(through - given.cue + 1)
        for index in range(given.cue, through + 1):
            if self.cues[index].speaker != given.speaker:
                self.cues[index] = replace(self.cues[index], speaker=given.speaker)

    def rename_speaker(self, given: RenameSpeaker) -> None:
        self._look(len(self.cues))
        found = [index for index, cue in enumerate(self.cues) if cue.speaker == given.speaker]
        if not found:
            raise _No(f"Nobody is called “{_short(given.speaker)}” in this transcript.")
        if given.to != given.speaker:
            for index in found:
                self.cues[index] = replace(self.cues[index], speaker=given.to)

    def delete(self, given: Delete) -> None:
        self._cue(given.cue)
        del self.cues[given.cue]

    def insert(self, given: Insert) -> None:
        if given.cue > len(self.cues):
            raise _No(f"There are {pluralise(len(self.cues), 'cue')}; a new one cannot stand at {given.cue}.")
        if not given.text:
            raise _No("A new cue needs text.")
        self._check_times(given.start_seconds, given.end_seconds, self._room(given.cue, None))
        words = retiming.share(split_words(given.text), given.start_seconds, given.end_seconds)
        cue = _wrapped(Cue(given.start_seconds, given.end_seconds, "", tuple(words), given.speaker))
        _check_length(cue.text)
        self.cues.insert(given.cue, cue)
        self._check_count()

    def replace_all(self, given: Replace) -> None:
        self._look(len(self.cues))
        pattern = re.compile(re.escape(given.find), 0 if given.match_case else re.IGNORECASE)
        kept: list[Cue] = []
        count = 0
        for cue in self.cues:
            flat = join_words([word.text for word in cue.words])
            text, times = _replaced(pattern, given, flat)
            count += times
            if not times or text == flat:
                kept.append(cue)
            elif text.strip():
                kept.append(_rewritten(cue, text))
        if not count:
            raise _No(f"“{_short(given.find)}” does not stand in any cue.")
        self.cues[:] = kept

    def _cue(self, index: int) -> Cue:
        if index >= len(self.cues):
            raise _No(f"There is no cue {index}; this transcript has {pluralise(len(self.cues), 'cue')} by then.")
        return self.cues[index]

    def _put(self, index: int, cue: Cue) -> None:
        self.cues[index] = marked(cue)

    def _room(self, index: int, cue: Cue | None) -> tuple[float, float]:
        """Return between which times a cue may lie there: between its neighbours, or as far as it does already."""
        after = index if cue is None else index + 1
        low = self.cues[index - 1].end if index else 0.0
        high = self.cues[after].start if after < len(self.cues) else self.latest
        if cue is None:
            return low, high
        return min(low, cue.start), max(high, cue.end)

    def _check_times(self, start: float, end: float, room: tuple[float, float]) -> None:
        if end - start < FEWEST_CUE_SECONDS - SLACK_SECONDS:
            raise _No(f"A cue must end at least {FEWEST_CUE_SECONDS} s after it starts.")
        if end - start > MOST_CUE_SECONDS:
            raise _No(f"A cue may last {MOST_CUE_SECONDS:.0f} s at most. Split it.")
        if end > self.latest + SLACK_SECONDS:
            raise _No(f"The recording ends at {self.latest:.3f} s.")
        if start < room[0] - SLACK_SECONDS or end > room[1] + SLACK_SECONDS:
            raise _No(
                f"{start:.3f} to {end:.3f} s reaches into a neighbour: there is room from {room[0]:.3f} to "
                f"{room[1]:.3f} s. Change the neighbour's times first."
            )

    def _check_count(self) -> None:
        if len(self.cues) > MOST_CUES:
            raise _No(f"A transcript has {MOST_CUES:,} cues at most.")

    def _look(self, count: int) -> None:
        self.looks += count
        if self.looks > MOST_LOOKS:
            raise _No("That is too much at once. Save what was done before it, then go on.")


_VERBS: dict[type, Callable[..., None]] = {
    SetText: _Work.set_text,
    SetTimes: _Work.set_times,
    Split: _Work.split,
    Merge: _Work.merge,
    SetSpeaker: _Work.set_speaker,
    RenameSpeaker: _Work.rename_speaker,
    Delete: _Work.delete,
    Insert: _Work.insert,
    Replace: _Work.replace_all,
}


def _rewritten(cue: Cue, text: str) -> Cue:
    new = _wrapped(replace(cue, words=retiming.retime(cue.words, text, cue.start, cue.end)))
    _check_length(new.text)
    return new


def _wrapped(cue: Cue) -> Cue:
    """Return the cue with its words as its text, in as few lines of 42 characters as they need."""
    return marked(replace(cue, text="\n".join(wrap([word.text for word in cue.words]))))


def _check_length(text: str) -> None:
    if len(text) > MOST_CUE_CHARACTERS:
        raise _No(f"A cue has {MOST_CUE_CHARACTERS:,} characters at most. Split it.")


def _replaced(pattern: re.Pattern[str], given: Replace, flat: str) -> tuple[str, int]:
    count = 0

    def write(found: re.Match[str]) -> str:
        nonlocal count
        if given.whole_words and not _is_whole(flat, found.start(), found.end()):
            return found.group()
        count += 1
        return given.by

    return pattern.sub(write, flat), count


def _is_whole(text: str, start: int, end: int) -> bool:
    return _is_border(text[start - 1 : start], text[start]) and _is_border(text[end - 1], text[end : end + 1])


def _is_border(before: str, after: str) -> bool:
    """Tell whether a word ends between two characters; in scripts without spaces one does after each."""
    return not (before and after and _in_word(before) and _in_word(after)) or len(split_words(before + after)) > 1


def _in_word(character: str) -> bool:
    return character == "_" or unicodedata.category(character)[0] in "LMN"


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"  # noqa: PLR2004
