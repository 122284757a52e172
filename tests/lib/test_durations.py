"""Durations as people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.lib.durations import optional, seconds


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("90s", 90),
        ("10m", 600),
        ("2h", 7200),
        ("3d", 259_200),
        ("1w", 604_800),
        ("0.5 h", 1800),
        (1.5, 1.5),
        (0, 0),
        (timedelta(minutes=2), 120),
    ],
)
def test_a_duration_is_a_number_of_seconds(written, meant):
    assert seconds(written) == optional(written) == meant


@pytest.mark.parametrize(
    "written", ["", "10", "m", "10 minutes", "-1s", -1, "1h30m", True, None, [], float("nan"), 1e12]
)
def test_what_is_no_duration_is_refused_with_how_to_write_one(written):
    with pytest.raises(ValueError, match="is no duration: write '90s', '10m'"):
        seconds(written)


def test_no_duration_is_none():
    assert optional(None) is None
