"""Durations as people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.lib.durations import seconds


@pytest.mark.parametrize(
    ("duration", "expected"),
    [("90s", 90), ("10m", 600), ("2h", 7200), ("3d", 259_200), ("1w", 604_800), ("1.5h", 5400), (3, 3), (0.5, 0.5)],
)
def test_a_duration_is_a_number_with_a_unit_or_seconds(duration, expected):
    assert seconds(duration) == expected


def test_a_timedelta_is_a_duration():
    assert seconds(timedelta(minutes=2)) == 120


@pytest.mark.parametrize("wrong", ["", "10", "m", "10 m", "-1m", "1y", "1m30s"])
def test_anything_else_is_refused_with_how_to_write_it(wrong):
    with pytest.raises(ValueError, match="write it like 90s"):
        seconds(wrong)
