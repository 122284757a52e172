"""Where the chunks of an edited transcript begin and end, so that as few as possible have other words. Pure.

Every chunk keeps the words at which it began and ended, if they are still there. One that has become too long leaves
words at its ends to its neighbours, if those have enough of them too; else it is cut in two. One that has become too
short is put together with the next one. What cannot be mended in this way is cut anew as a whole.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

from app.lib.alike import changes
from app.videos.chunks import (
    FEWEST_WORDS,
    MOST_TOKENS,
    MOST_WORDS,
    OVERLAP_SLACK_WORDS,
    OVERLAP_WORDS,
    Bounds,
    Unit,
    bounds,
    least_overlap,
    overlap_start,
)

MOST_OVERLAP_WORDS = 2 * (OVERLAP_WORDS + OVERLAP_SLACK_WORDS)  # words that were added there are not embedded twice


def carry_over(old: Sequence[str], old_bounds: Sequence[Bounds], new: Sequence[Unit]) -> list[Bounds]:
    """Return the bounds of the chunks of an edited transcript.

    Args:
        old: the words that the chunks were cut from.
        old_bounds: where each of them begins and ends (exclusive) among those.
        new: the words that are to be cut.

    Returns:
        Bounds that keep the rules of `chunks.cut`: every word is in a chunk, FEWEST_WORDS..MOST_WORDS words where there
        are that many, neighbours share at least OVERLAP_WORDS.
    """
    if not new or not old_bounds:
        return bounds(new)
    mapped = _map(old, old_bounds, new)
    mended = _mend(new, _with_overlap(new, mapped))
    return mended if _is_sound(new, mended) else bounds(new)


def _map(old: Sequence[str], old_bounds: Sequence[Bounds], new: Sequence[Unit]) -> list[Bounds]:
    opcodes = changes(old, [unit.text for unit in new])
    starts = [opcode[1] for opcode in opcodes]

    def place(word: int, *, ends: bool) -> int:
        """Return where an old word stands now; where it was changed, in proportion."""
        tag, i1, i2, j1, j2 = opcodes[bisect_right(starts, word) - 1]
        if tag == "equal":
            return j1 + word - i1
        return j1 + ((word + ends - i1) * (j2 - j1) + (i2 - i1) // 2) // max(1, i2 - i1) - ends

    found = [
        (place(begin, ends=False), place(end - 1, ends=True) + 1)
        for begin, end in old_bounds
        if begin < end <= len(old)
    ]
    if not found:
        return []
    found[0] = (0, found[0][1])
    found[-1] = (found[-1][0], len(new))
    return [(begin, end) for begin, end in found if begin < end]


def _with_overlap(new: Sequence[Unit], mapped: Sequence[Bounds]) -> list[Bounds]:
    """Let each chunk begin so that it shares enough with the one before: its words there were changed anyway."""
    found: list[Bounds] = []
    for begin, end in mapped:
        if found:
            before = found[-1]
            shared = before[1] - begin
            if shared < least_overlap(*before) or shared > MOST_OVERLAP_WORDS:
                begin = max(before[0] + 1, overlap_start(new, *before))  # noqa: PLW2901
            if end <= before[1]:
                continue  # nothing is left of it that the one before has not
        found.append((begin, end))
    return found


def _mend(new: Sequence[Unit], given: Sequence[Bounds]) -> list[Bounds]:
    left = list(given)[::-1]
    found: list[Bounds] = []
    while left:
        begin, end = left.pop()
        if _is_too_short(new, begin, end) and (left or found):
            # With the next one, or the one before, and cut anew where that is too much for one.
            left.append((begin, left.pop()[1]) if left else (found.pop()[0], end))
        elif not _is_too_long(new, begin, end):
            found.append((begin, end))
        else:
            found.extend(_shortened(new, begin, end, found, left) or _parts(new, begin, end))
    return found


def _tokens(new: Sequence[Unit], begin: int, end: int) -> int:
    return sum(unit.tokens for unit in new[begin:end])


def _is_too_short(new: Sequence[Unit], begin: int, end: int) -> bool:
    """Tell whether a chunk has too few words, unless words as long as its own fill a chunk before there are enough."""
    words = end - begin
    return words < FEWEST_WORDS and _tokens(new, begin, end) * FEWEST_WORDS <= MOST_TOKENS * words


def _is_too_long(new: Sequence[Unit], begin: int, end: int) -> bool:
    return end - begin > MOST_WORDS or _tokens(new, begin, end) > MOST_TOKENS


def _shortened(
    new: Sequence[Unit], begin: int, end: int, found: Sequence[Bounds], left: Sequence[Bounds]
) -> list[Bounds] | None:
    """Return the chunk without words at its ends that its neighbours have too, None if there are not enough."""
    latest = found[-1][1] - least_overlap(*found[-1]) if found else begin  # where it may begin
    earliest = left[-1][0] + OVERLAP_WORDS if left else end  # where it may end
    for start in _borders(new, begin, max(begin, latest)):
        for stop in reversed(_borders(new, min(earliest, end), end)):
            if stop - start >= FEWEST_WORDS and not _is_too_long(new, start, stop):
                return [(start, stop)]
    return None


def _borders(new: Sequence[Unit], low: int, high: int) -> list[int]:
    """Return `low`, `high`, and where between them a sentence or cue begins."""
    return sorted({low, high, *(place for place in range(low + 1, high) if new[place - 1].is_boundary)})


def _parts(new: Sequence[Unit], begin: int, end: int) -> list[Bounds]:
    """Cut a stretch that is too long for one chunk as a transcript of its own; its ends stay where they are."""
    return [(begin + one, begin + two) for one, two in bounds(new[begin:end])]


def _is_sound(new: Sequence[Unit], found: Sequence[Bounds]) -> bool:
    if not found or found[0][0] != 0 or found[-1][1] != len(new):
        return False
    if len(found) > 1 and any(_is_too_long(new, *each) or _is_too_short(new, *each) for each in found):
        return False
    return all(
        one[0] < two[0] and one[1] < two[1] and one[1] - two[0] >= least_overlap(*one) for one, two in pairwise(found)
    )
