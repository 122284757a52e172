"""Mark what a recogniser probably made up: repeats and words over silence. Flagged, never hidden. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.videos.cues import Cue

REPEAT = "repeat"
OVER_SILENCE = "over-silence"

LOOPS = 4  # the same few words this often in a row are a loop, not speech
LONGEST_LOOP_WORDS = 4
SLACK_SECONDS = 0.4  # what counts as speech begins and ends a little late and early


def mark(cues: Sequence[Cue], speech: Sequence[tuple[float, float]] | None) -> list[Cue]:
    """Return the cues with their flags.

    Args:
        cues: in order.
        speech: where somebody speaks, in seconds, in order; None when not known (then nothing is over silence).
    """
    marked: list[Cue] = []
    before: list[str] = []
    position = 0
    for cue in cues:
        words = [word.text.casefold().strip(".,!?;:…。，！？") for word in cue.words]  # noqa: RUF001  (meant)
        flags = []
        if (len(words) > 1 and words == before) or _loops(words):
            flags.append(REPEAT)
        if speech is not None:
            while position < len(speech) and speech[position][1] + SLACK_SECONDS <= cue.start:
                position += 1
            if position == len(speech) or speech[position][0] - SLACK_SECONDS >= cue.end:
                flags.append(OVER_SILENCE)
        marked.append(replace(cue, flags=tuple(flags)) if flags else cue)
        before = words
    return marked


def _loops(words: list[str]) -> bool:
    for size in range(1, LONGEST_LOOP_WORDS + 1):
        run = 0
        for position in range(size, len(words)):
            run = run + 1 if words[position] == words[position - size] else 0
            if run >= size * (LOOPS - 1):
                return True
    return False
