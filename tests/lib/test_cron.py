"""Expressions of cron that cannot be: what stands there, and what may."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.lib.cron import next_tick

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("61 9 * * *", "'61' is no minute; write 0-59"),
        ("*/0 9 * * *", r"'\*/0' is no minute; write 0-59"),
        ("0 24 * * *", "'24' is no hour; write 0-23"),
        ("TZ=Europe/Berlin 0 9 32 * *", "'32' is no day-of-month; write 1-31, or L for the last"),
        ("0 9 * 13 *", "'13' is no month; write 1-12 or JAN-DEC"),
        ("0 9 * * FOO", r"'FOO' is no day-of-week; write 0-7 or SUN-SAT, also as \*, a list 1,15, a range 2-5"),
    ],
)
def test_a_field_that_cannot_be_is_shown_with_what_may_stand_there(expression, sentence):
    with pytest.raises(ValueError, match=f"is no cron expression: {sentence}"):
        next_tick(expression, NOW)


@pytest.mark.parametrize("day", ["0", "7", "SUN", "5L", "MON#1"])
def test_what_is_said_to_be_allowed_is(day):
    assert next_tick(f"0 9 * * {day}", NOW) is not None
