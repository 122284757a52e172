"""Texts by which things are told apart."""

from __future__ import annotations

import pytest

from app.lib.keys import MAX_KEY, compact, digest


@pytest.mark.parametrize("text", ["x" * (MAX_KEY + 1), "a\x00b", "two\nlines"])
def test_long_and_unprintable_texts_become_their_hash(text):
    assert compact(text) == digest(text)


def test_short_values_stay_as_they_read():
    assert (compact("video:1"), compact(17)) == ("video:1", "17")
