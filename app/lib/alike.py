"""What two long sequences of words have in common, in time that hardly grows faster than they do.

difflib alone needs minutes for two transcripts of three hours, in which "the" stands a thousand times. So words that
occur once in both are taken as anchors first (the "patience" way of comparing), again between two anchors, and
difflib compares what is left in short stretches. A long stretch without any anchor counts as replaced.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import pairwise

MOST_PAIRS = 40_000  # of words that difflib compares at once: 200 times 200

Block = tuple[int, int, int]  # where it begins in old and new, and how long it is
Change = tuple[str, int, int, int, int]  # difflib's opcode: tag, old from, old to, new from, new to
_Stretch = tuple[int, int, int, int]


def changes(old: Sequence[str], new: Sequence[str]) -> list[Change]:
    """Return what makes `new` of `old` as difflib's opcodes: "equal", "replace", "insert", "delete", without gaps."""
    found: list[Change] = []
    i = j = 0
    for at_old, at_new, size in [*blocks(old, new), (len(old), len(new), 0)]:
        if i < at_old or j < at_new:
            tag = "insert" if i == at_old else "delete" if j == at_new else "replace"
            found.append((tag, i, at_old, j, at_new))
        if size:
            found.append(("equal", at_old, at_old + size, at_new, at_new + size))
        i, j = at_old + size, at_new + size
    return found


def blocks(old: Sequence[str], new: Sequence[str]) -> list[Block]:
    """Return the stretches that both have, in order; neighbouring ones are one."""
    found: list[Block] = []
    for i, j, size in sorted(_blocks(old, new)):
        if found and (found[-1][0] + found[-1][2], found[-1][1] + found[-1][2]) == (i, j):
            found[-1] = (*found[-1][:2], found[-1][2] + size)
        else:
            found.append((i, j, size))
    return found


def _blocks(old: Sequence[str], new: Sequence[str]) -> Iterator[Block]:
    left: list[_Stretch] = [(0, len(old), 0, len(new))]
    while left:
        i1, i2, j1, j2 = left.pop()
        start = 0
        while i1 + start < i2 and j1 + start < j2 and old[i1 + start] == new[j1 + start]:
            start += 1
        if start:
            yield i1, j1, start
        i1, j1, end = i1 + start, j1 + start, 0
        while i1 < i2 - end and j1 < j2 - end and old[i2 - end - 1] == new[j2 - end - 1]:
            end += 1
        if end:
            yield i2 - end, j2 - end, end
        i2, j2 = i2 - end, j2 - end
        if i1 == i2 or j1 == j2:
            continue
        if (i2 - i1) * (j2 - j1) <= MOST_PAIRS:
            matcher = SequenceMatcher(None, old[i1:i2], new[j1:j2], autojunk=False)
            yield from ((i1 + i, j1 + j, size) for i, j, size in matcher.get_matching_blocks() if size)
        elif anchors := _anchors(old, new, (i1, i2, j1, j2)):
            yield from ((i, j, 1) for i, j in anchors)
            corners = [(i1 - 1, j1 - 1), *anchors, (i2, j2)]
            left.extend((one[0] + 1, two[0], one[1] + 1, two[1]) for one, two in pairwise(corners))


def _anchors(old: Sequence[str], new: Sequence[str], stretch: _Stretch) -> list[tuple[int, int]]:
    """Return the pairs of words that occur once on both sides, as many as keep their order."""
    i1, i2, j1, j2 = stretch
    once_old = {word for word, count in Counter(old[i1:i2]).items() if count == 1}
    once_new = {word for word, count in Counter(new[j1:j2]).items() if count == 1}
    places = {word: j for j, word in enumerate(new[j1:j2], j1) if word in once_new}
    pairs = [(i, places[word]) for i, word in enumerate(old[i1:i2], i1) if word in once_old and word in places]
    return _longest_rise(pairs)


def _longest_rise(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the longest subsequence in which the second numbers rise too (patience sorting)."""
    tops: list[int] = []  # the smallest number that ends a rise of each length
    ends: list[int] = []  # and which pair that is
    before: list[int] = []
    for number, (_, value) in enumerate(pairs):
        length = bisect_left(tops, value)
        before.append(ends[length - 1] if length else -1)
        tops[length : length + 1] = [value]
        ends[length : length + 1] = [number]
    found: list[tuple[int, int]] = []
    number = ends[-1] if ends else -1
    while number >= 0:
        found.append(pairs[number])
        number = before[number]
    return found[::-1]
