"""A JSON object made of small changes: each sets, increments or appends to one key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Change = tuple[str, Any]  # set, increment or append (then the value is a list), and the value


class Changes:
    """Changes that are ordered by their places, whatever the order in which they arrive.

    One place has one change a key: two in a row are one that does what both do. `so_far` is all of them in the order of
    arrival, which costs nothing to ask for.
    """

    def __init__(self) -> None:
        self._places: dict[tuple[float, ...], dict[str, Change]] = {}
        self.so_far: dict[str, Change] = {}

    def add(self, place: tuple[float, ...], changes: Mapping[str, Change]) -> None:
        """Add `changes`, made at `place`."""
        self._places[place] = joined(self._places.get(place, {}), changes)
        self.so_far = joined(self.so_far, changes)

    def result(self) -> dict[str, Any]:
        """Return the object that they make."""
        state: dict[str, Change] = {}
        for _, changes in sorted(self._places.items()):
            state = joined(state, changes)
        return shown(state)


def joined(first: Mapping[str, Change], second: Mapping[str, Change]) -> dict[str, Change]:
    """Return the changes that do what both do, one after the other; one that does not fit begins its key anew."""
    return {**first, **{key: _then(first.get(key), change) for key, change in second.items()}}


def shown(changes: Mapping[str, Change]) -> dict[str, Any]:
    """Return what `changes` make of an empty object."""
    return {key: value for key, (_, value) in changes.items()}


def fits(before: Change | None, change: Change) -> bool:
    """Tell whether `change` can follow: a number is incremented, a list is appended to."""
    verb, value = change
    if verb == "increment" and not _is_number(value):
        return False
    if before is None or verb == "set":
        return True
    return isinstance(before[1], list) if verb == "append" else _is_number(before[1])


def _then(before: Change | None, change: Change) -> Change:
    if before is None or change[0] == "set" or not fits(before, change):
        return change
    return before[0], before[1] + change[1]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
