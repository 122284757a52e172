"""An object made of changes: their places decide, not their arrival."""

from __future__ import annotations

import itertools

import pytest

from app.lib.changes import Changes, fits, joined, shown

ORDERED = [
    ((1,), {"list": ("append", [1]), "number": ("increment", 1)}),
    ((1, 0, 1), {"list": ("append", [2]), "word": ("set", "a")}),
    ((1, 1, 1), {"list": ("append", [3]), "word": ("set", "b"), "number": ("increment", 2.5)}),
    ((1, float("inf")), {"list": ("append", [4])}),
]


@pytest.mark.parametrize("arrival", list(itertools.permutations(ORDERED)))
def test_the_result_is_the_same_in_whatever_order_they_arrive(arrival):
    changes = Changes()
    for place, made in arrival:
        changes.add(place, made)
    assert changes.result() == {"list": [1, 2, 3, 4], "number": 3.5, "word": "b"}


def test_several_at_one_place_follow_each_other():
    changes = Changes()
    for change in (("set", 5), ("increment", 2), ("increment", -1)):
        changes.add((1,), {"n": change})
    assert changes.result() == shown(changes.so_far) == {"n": 6}


def test_a_change_that_does_not_fit_begins_its_key_anew():
    assert joined({"a": ("set", "text")}, {"a": ("increment", 2)}) == {"a": ("increment", 2)}


@pytest.mark.parametrize(
    ("before", "change", "does_fit"),
    [
        (None, ("increment", 1), True),
        (None, ("increment", True), False),
        (None, ("increment", "1"), False),
        (("set", 1.5), ("increment", 1), True),
        (("set", True), ("increment", 1), False),
        (("append", [1]), ("increment", 1), False),
        (("set", [1]), ("append", [2]), True),
        (("set", {}), ("append", [2]), False),
        (("set", "x"), ("set", None), True),
    ],
)
def test_numbers_are_incremented_and_lists_appended_to(before, change, does_fit):
    assert fits(before, change) is does_fit
