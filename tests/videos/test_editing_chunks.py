"""Where the chunks of an edited transcript lie: the rules of cutting hold, and as few as possible change."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.lib.words import Word, join_words
from app.videos import chunks, cues
from app.videos.rechunking import carry_over
from tests.videos.talks import made_up


def units(words: list[str]) -> list[chunks.Unit]:
    timed = [Word(word, n * 0.4, n * 0.4 + 0.3) for n, word in enumerate(words)]
    return chunks.units_of(cues.build(timed))


def texts(found, cut):
    return [join_words([unit.text for unit in cut[begin:end]]) for begin, end in found]


def carried(before: list[str], after: list[str]):
    old, new = units(before), units(after)
    bounds = chunks.bounds(old)
    found = carry_over([unit.text for unit in old], bounds, new)
    return texts(bounds, old), texts(found, new), found, new


def check(found, new):
    assert [found[0][0], found[-1][1]] == [0, len(new)]
    for begin, end in found:
        assert end - begin <= chunks.MOST_WORDS
        assert sum(unit.tokens for unit in new[begin:end]) <= chunks.MOST_TOKENS
        assert end - begin >= chunks.FEWEST_WORDS or len(new) < chunks.FEWEST_WORDS + chunks.OVERLAP_WORDS
    for one, two in pairwise(found):
        assert one[0] < two[0]
        assert one[1] - two[0] >= chunks.OVERLAP_WORDS


THREE_HOURS = 27_000


@pytest.mark.parametrize("place", [0, 1, 450, 940, 955, 13_400, 13_777, 26_100, THREE_HOURS - 1])
@pytest.mark.parametrize("edit", ["replace", "insert", "delete"])
def test_one_word_changes_at_most_two_chunks_of_three_hours(place, edit):
    before = made_up(THREE_HOURS)
    after = list(before)
    after[place : place + (edit != "insert")] = [] if edit == "delete" else ["quincunx"]
    old, new, found, cut = carried(before, after)
    check(found, cut)
    assert len(new) > 25
    assert len(set(new) - set(old)) <= 2


def test_without_a_change_of_words_nothing_changes():
    words = made_up(5_000)
    old, new, _, _ = carried(words, words)
    assert old == new


def test_a_longer_edit_changes_only_what_is_near():
    before = made_up(THREE_HOURS)
    after = before[:10_000] + made_up(700, seed=9) + before[10_000:15_000] + before[15_400:]
    old, new, found, cut = carried(before, after)
    check(found, cut)
    assert len(set(new) - set(old)) <= 8


def test_all_other_words_are_cut_anew():
    _, _, found, cut = carried(made_up(3_000), [f"x{n}" for n in range(3_000)])
    check(found, cut)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_the_rules_of_cutting_hold_after_any_edit(data):
    before = made_up(data.draw(st.integers(1, 4_000)), seed=data.draw(st.integers(0, 3)))
    after = list(before)
    for _ in range(data.draw(st.integers(0, 6))):
        place = data.draw(st.integers(0, len(after)))
        gone = data.draw(st.sampled_from([0, 0, 1, 2, 30, 400, 1_500]))
        came = data.draw(st.sampled_from([0, 1, 1, 5, 90, 300, 1_200]))
        after[place : place + gone] = made_up(came, seed=data.draw(st.integers(10, 12)))
    old = units(before)
    new = units(after)
    found = carry_over([unit.text for unit in old], chunks.bounds(old), new)
    if new:
        check(found, new)
    else:
        assert found == []


@given(
    st.lists(st.sampled_from(["the", "a", "x", "潮", "汐", "internationalisation" * 2]), max_size=900),
    st.integers(0, 900),
)
@settings(max_examples=40, deadline=None)
def test_texts_bounded_by_tokens_are_covered_too(words, at):
    old, new = units(words * 3), units([*words, *words[:at], *words])
    found = carry_over([unit.text for unit in old], chunks.bounds(old), new)
    if new:
        assert [found[0][0], found[-1][1]] == [0, len(new)]
        assert all(one[1] >= two[0] for one, two in pairwise(found))
