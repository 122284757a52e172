"""A JSON object made of small changes: each sets, increments or appends to one key."""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterable, Mapping
from typing import Any

Change = tuple[str, Any]  # set, increment or append (then the value is a list), and the value
Place = tuple[float, ...]


class Changes:
    """Changes that are ordered by their places, whatever the order in which they arrive.

    One place has one change a key: two in a row are one that does what both do. `so_far` is all of them in the order of
    arrival, which costs nothing to ask for.
    """

    def __init__(self) -> None:
        self._places: dict[Place, dict[str, Change]] = {}
        self._last: Place = ()
        self.so_far: dict[str, Change] = {}
        self.is_ordered = True  # they have arrived in the order of their places: `so_far` is the result

    def add(self, place: Place, changes: Mapping[str, Change]) -> None:
        """Add `changes`, made at `place`."""
        self.is_ordered &= place >= self._last
        self._last = max(place, self._last)
        self._places[place] = joined(self._places.get(place, {}), changes)
        self.so_far = joined(self.so_far, changes)

    def result(self, more: Iterable[tuple[Place, Mapping[str, Change]]] = ()) -> dict[str, Any]:
        """Return the object that they make, with `more` of them, which may yet be added."""
        state: dict[str, Change] = {}
        for _, changes in sorted([*self._places.items(), *more], key=operator.itemgetter(0)):
            for key, change in changes.items():
                state[key] = _then(state.get(key), change)
        return shown(state)


def joined(first: Mapping[str, Change], second: Mapping[str, Change]) -> dict[str, Change]:
    """Return the changes that do what both do, one after the other; one that does not fit begins its key anew."""
    return {**first, **{key: _then(first.get(key), change) for key, change in second.items()}}


def shown(changes: Mapping[str, Change]) -> dict[str, Any]:
    """Return what `changes` make of an empty object."""
    return {key: value for key, (_, value) in changes.items()}


def fits(before: Change | None, change: Change) -> bool:
    """Tell whether `change` can follow: a number is incremented (up to what JSON holds), a list is appended to."""
    verb, value = change
    if verb == "increment" and not _is_number(value):
        return False
    if before is None or verb == "set":
        return True
    if verb == "append":
        return isinstance(before[1], list)
    return _is_number(before[1]) and _is_small(before[1]) and _is_small(value) and _is_small(before[1] + value)


def _then(before: Change | None, change: Change) -> Change:
    if before is None or change[0] == "set" or not fits(before, change):
        return change
    return before[0], before[1] + change[1]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_small(number: float) -> bool:
    return abs(number) <= sys.float_info.max  # the sum of two such numbers is one, or infinite, and never an error
