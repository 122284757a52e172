"""What two long sequences of words have in common.

difflib needs minutes for two transcripts of three hours, in which "the" stands a thousand times; rapidfuzz compares
bits and needs a tenth of a second and some megabytes, also where the two have nothing in common.
"""

from __future__ import annotations

from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein

Change = tuple[str, int, int, int, int]  # difflib's opcode: tag, old from, old to, new from, new to


def changes(old: Sequence[str], new: Sequence[str]) -> list[Change]:
    """Return what makes `new` of `old` as difflib's opcodes: "equal", "replace", "insert", "delete", without gaps.

    What is not equal and stands side by side is one change.
    """
    found: list[Change] = []
    for code in Levenshtein.opcodes(old, new):
        step = (code.tag, code.src_start, code.src_end, code.dest_start, code.dest_end)
        if found and (found[-1][0] == "equal") == (step[0] == "equal"):
            found[-1] = _joined(found[-1], step)
        else:
            found.append(step)
    return found


def _joined(first: Change, second: Change) -> Change:
    tag = first[0] if first[0] == second[0] else "replace"
    return tag, first[1], second[2], first[3], second[4]
