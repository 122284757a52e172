"""JSON exactly, and as well as it can be shown."""

from __future__ import annotations

import json
from datetime import date
from uuid import UUID

import pytest

from app.lib import json_text

ID = UUID(int=1)


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object(), [float("inf")]])
def test_what_is_not_json_is_refused(value):
    with pytest.raises(json_text.NOT_JSON):
        json_text.dumps(value)


def test_what_is_not_json_is_described_to_people():
    assert json.loads(json_text.shown([ID, date(2026, 1, 2), {1}], 1000, 9)) == [str(ID), "2026-01-02", "<set>"]
    assert json.loads(json_text.shown(["x" * 100], 50, 9)) == ["(104 bytes, not kept)"]


def test_a_value_is_seen_again_as_its_text_has_it():
    assert json_text.same_again((1, 2), json_text.dumps((1, 2))) == [1, 2]


@pytest.mark.parametrize("value", ["\ud83d\ude00", "\ud83d", "\N{GRINNING FACE}", "é", "plain", "", True, 7, None])
def test_a_plain_value_is_seen_again_too(value):
    text = json_text.dumps(value)
    assert json_text.same_again(value, text) == json.loads(text)


def test_an_error_is_kept_as_the_database_can_hold_it():
    assert json_text.error_of(ValueError("a\x00b\ud800")) == {"class": "ValueError", "code": "error", "message": "a�b?"}


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({1, 2}, ""),
        ({"a": [1, {"b": float("nan")}]}, "['a'][1]['b']"),
        ([{(1, 2): 3}], "[0]"),
    ],
)
def test_what_is_not_json_is_found_by_its_path(value, path):
    assert json_text.where_not_json(value) == path


def test_a_path_that_leads_in_circles_has_an_end():
    circle = []
    circle.append(circle)
    assert len(json_text.where_not_json(circle)) <= json_text.MAX_PATH


def test_what_is_nested_too_deep_is_described_to_people():
    assert json.loads(json_text.shown([[[[1]]]], 1000, 3)) == ["(over 3 levels deep, not kept)"]
    assert json.loads(json_text.shown([[[1]]], 1000, 3)) == [[[1]]]
