"""Cues: every source ends in cues that can be read."""

from itertools import pairwise

import pytest

from app.lib.words import Word, join_words, split_words
from app.videos import cues

LOREM = "we cut the transcript into chunks so that a model can find what was said and where it was said. "


def words_of(text, start=0.0, each=0.4, gap=0.05):
    words = []
    for part in split_words(text):
        words.append(Word(part, round(start, 3), round(start + each, 3)))
        start += each + gap
    return words


def assert_readable(made):
    for cue in made:
        lines = cue.text.split("\n")
        assert len(lines) <= 2
        assert all(len(line) <= 42 for line in lines), cue.text
        assert cue.end - cue.start <= 5.5 + 1e-9
        assert cue.end >= cue.start >= 0
    assert all(one.end <= two.start + 1e-9 for one, two in pairwise(made))


@pytest.mark.parametrize("each", [0.05, 0.4, 1.3, 7.0])
def test_cues_keep_their_limits_at_every_speed(each):
    words = words_of(LOREM * 10, each=each)
    made = cues.build(words)
    assert_readable(made)
    assert join_words([word.text for cue in made for word in cue.words]) == (LOREM * 10).strip()


def test_a_cue_may_start_at_zero():
    assert cues.build([Word("Hello", 0.0, 0.4)])[0].start == 0.0


def test_a_pause_ends_a_cue():
    made = cues.build([Word("one", 0, 0.3), Word("two", 2, 2.3)])
    assert [cue.text for cue in made] == ["one", "two"]


def test_a_sentence_ends_a_cue():
    made = cues.build(words_of("This is the first of them. And here is another one."))
    assert [cue.text.replace("\n", " ") for cue in made] == ["This is the first of them.", "And here is another one."]


def test_a_sentence_that_is_too_long_leaves_no_word_alone():
    text = "So the next time you walk on the beach remember that the ocean does not come to you."
    made = cues.build(words_of(text, each=0.28))
    assert_readable(made)
    first, second = (cue.text.replace("\n", " ") for cue in made)
    assert f"{first} {second}" == text
    assert abs(len(first) - len(second)) <= 10


def test_what_follows_a_pause_stays_alone():
    words = words_of("we cut the transcript into chunks so that a model can find what was said", each=0.28)
    late = Word("here", words[-1].end + 1.0, words[-1].end + 1.3)
    assert cues.build([*words, late])[-1].text == "here"


def test_two_lines_are_about_equally_long():
    made = cues.build(words_of("every step of a workflow is remembered in the database", each=0.2))
    first, second = made[0].text.split("\n")
    assert abs(len(first) - len(second)) <= 10


def test_chinese_text_without_spaces_keeps_the_limits():
    text = "我们把演讲切成小段这样模型就能找到说过的话" * 20
    made = cues.build([Word(text, 0.0, 90.0)])
    assert_readable(made)
    assert "".join(cue.text for cue in made).replace("\n", "") == text


def test_a_hostile_word_is_cut():
    made = cues.build([Word("x" * 10_000, 0.0, 600.0), Word("a\x00b\ud800", 600, 601)])
    assert_readable(made)
    assert made[-1].words[-1].text == "ab"


def test_times_that_run_backwards_are_straightened():
    made = cues.build([Word("one", 5, 6), Word("two", 3, 2), Word("", 1, 1), Word("three", 7, 8)])
    assert_readable(made)
    assert [word.text for cue in made for word in cue.words] == ["one", "two", "three"]


def test_confidence_of_a_cue_is_the_mean_of_its_words():
    made = cues.build([Word("one", 0, 0.3, 0.5), Word("two", 0.3, 0.6, 1.0), Word("three", 0.6, 0.9)])
    assert made[0].confidence == 0.75
    assert cues.build([Word("one", 0, 0.3)])[0].confidence is None


def test_words_share_time_by_their_letters():
    spread = cues.spread("ab abcdef", 10, 18)
    assert [(word.start, word.end) for word in spread] == [(10, 12), (12, 18)]


@pytest.mark.parametrize(
    "text", ["plain words, here.", "我们说话。", "使用数据库", "สวัสดีครับ", "日本語のテキスト、です。", "한국어 문장"]
)
def test_words_join_to_the_text_they_were_cut_from(text):
    assert join_words(split_words(text)) == text
