"""How values read to a person."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.lib import text

NOON = datetime(2026, 3, 12, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "reads"),
    [(None, "0:00"), (-3, "0:00"), (7.9, "0:07"), (187, "3:07"), (3600, "1:00:00"), (3723, "1:02:03")],
)
def test_a_duration_is_a_clock_reading(seconds, reads):
    assert text.duration(seconds) == reads


@pytest.mark.parametrize(
    ("seconds", "reads"),
    [(0, "under a second"), (8, "8 s"), (59.6, "1 min"), (240, "4 min"), (3599, "1 h"), (7500, "2 h 5 min")],
)
def test_a_span_is_in_words(seconds, reads):
    assert text.span(seconds) == reads


@pytest.mark.parametrize(
    ("size", "reads"),
    [(None, "0 B"), (812, "812 B"), (4_200_000, "4.2 MB"), (999_960, "1.0 MB"), (2**31, "2.1 GB"), (3e12, "3.0 TB")],
)
def test_sizes_are_decimal(size, reads):
    assert text.file_size(size) == reads


@pytest.mark.parametrize(
    ("microusd", "reads"),
    [(0, "$0.00"), (None, "$0.00"), (50, "under $0.0001"), (1200, "$0.0012"), (1_204_500_000, "$1,204.50")],
)
def test_small_amounts_are_not_shown_as_free(microusd, reads):
    assert text.money(microusd) == reads


@pytest.mark.parametrize(
    ("name", "letters"),
    [("Ada Lovelace", "AL"), ("ada.lovelace@example.org", "AL"), ("ada", "A"), ("", "?"), ("@", "?"), ("  ", "?")],
)
def test_initials(name, letters):
    assert text.initials(name) == letters


def test_a_count_has_its_noun():
    assert text.pluralise(1, "video") == "1 video"
    assert text.pluralise(1204, "video") == "1,204 videos"
    assert text.pluralise(0, "person", "people") == "0 people"


@pytest.mark.parametrize(
    ("before", "reads"),
    [
        (timedelta(seconds=44), "just now"),
        (timedelta(seconds=46), "1 min ago"),
        (timedelta(minutes=59), "59 min ago"),
        (timedelta(minutes=60), "1 h ago"),
        (timedelta(hours=23), "23 h ago"),
        (timedelta(hours=30), "yesterday"),
        (timedelta(days=3), "3 days ago"),
        (timedelta(days=40), "31 Jan 2026"),
        (-timedelta(seconds=4), "just now"),
        (-timedelta(seconds=20), "in a moment"),
        (-timedelta(minutes=5), "in 5 min"),
    ],
)
def test_times_are_told_from_now(before, reads):
    assert text.ago(NOON - before, NOON) == reads
