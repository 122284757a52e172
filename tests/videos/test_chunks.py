"""Chunks: sizes, overlap, boundaries, times."""

from itertools import pairwise

import pytest

from app.lib.words import Word, count_tokens, split_words
from app.videos import chunks, cues


def cues_of(words, each=0.4):
    return cues.build([Word(word, number * each, (number + 0.9) * each) for number, word in enumerate(words)])


def prose(count):
    return [f"word{number}" + ("." if number % 12 == 11 else "") for number in range(count)]


@pytest.mark.parametrize("count", [1, 499, 1000, 1001, 1100, 1399, 1401, 2300, 5000, 12_345])
def test_chunks_have_500_to_1000_words_and_lose_none(count):
    words = prose(count)
    made = chunks.cut(cues_of(words))
    assert all(chunk.words <= 1000 for chunk in made)
    assert all(chunk.words >= min(500, count) for chunk in made)
    assert [chunk.index for chunk in made] == list(range(len(made)))
    seen = {word for chunk in made for word in chunk.text.split()}
    assert seen == set(words)


def test_neighbours_share_at_least_100_words_and_little_more():
    made = chunks.cut(cues_of(prose(5000)))
    for one, two in pairwise(made):
        shared = set(one.text.split()) & set(two.text.split())
        assert 100 <= len(shared) <= 140


def test_chunks_begin_and_end_with_a_sentence():
    made = chunks.cut(cues_of(prose(4000)))
    assert all(chunk.text.endswith(".") for chunk in made[:-1])


def test_text_without_sentences_is_cut_at_cues():
    found = cues_of([f"word{number}" for number in range(3000)])
    last_words = {cue.words[-1].text for cue in found}
    assert all(chunk.text.split()[-1] in last_words for chunk in chunks.cut(found))


def test_a_chunk_has_the_times_and_segments_of_its_own_words():
    found = cues_of(prose(3000))
    times = {word.text: word for cue in found for word in cue.words}
    segments = {word.text: number for number, cue in enumerate(found) for word in cue.words}
    for chunk in chunks.cut(found):
        first, last = chunk.text.split()[0], chunk.text.split()[-1]
        assert (chunk.start_seconds, chunk.end_seconds) == (times[first].start, times[last].end)
        assert (chunk.first_segment, chunk.last_segment) == (segments[first], segments[last])


def test_chinese_text_is_bounded_by_characters_and_tokens():
    text = "我们把演讲切成小段这样模型就能找到说过的话" * 500
    made = chunks.cut(cues.build([Word(text, 0.0, 3000.0)]))
    assert len(made) > 5
    assert all(chunk.words <= 1000 and count_tokens(chunk.text) <= chunks.MOST_TOKENS for chunk in made)


def test_long_words_are_bounded_by_tokens():
    made = chunks.cut(cues_of(["x" * 42] * 3000))
    assert all(count_tokens(chunk.text) <= chunks.MOST_TOKENS * 1.1 for chunk in made)
    assert sum(chunk.words for chunk in made) >= 3000


def test_no_words_make_no_chunks():
    assert chunks.cut([]) == []


def test_words_are_counted_like_a_reader_counts():
    assert len(split_words("three plain words")) == 3
    assert len(split_words("三个字")) == 3
