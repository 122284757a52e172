"""The pure part of search: terms, fusion, the moment inside a chunk."""

import pytest

from app.videos import cues, search


def words_of(text, seconds=0.4):
    made = cues.build(cues.spread(text, 0, len(text.split()) * seconds))
    return [word for number, cue in enumerate(made) for word in search.timed(cue.words, number, cue.start)]


FILLER = "so this goes on for quite some time and says little of interest to anybody at all " * 10


def test_common_words_are_dropped_unless_there_is_nothing_else():
    assert search.parse("where is the consistent hashing").terms == (("consistent",), ("hash",))
    assert search.parse("to be or not to be").terms == (("to",), ("be",), ("or",), ("not",))


@pytest.mark.parametrize("text", ["", "   ", "!!!", "' OR 1=1 --", "a & | ! <-> :*", "\x00", "x" * 10_000, "((((("])
def test_hostile_queries_become_harmless_terms(text):
    query = search.parse(text)
    assert len(query.text) <= search.MOST_QUERY_CHARACTERS
    assert all(part.isalnum() for term in query.terms for part in term)


def test_a_term_finds_the_forms_of_its_word():
    words = words_of("we were chunking transcripts")
    for asked in ("chunk", "chunks", "chunking", "chunked", "Transcript"):
        assert search.count_terms(words, search.parse(asked).terms) == 1


def test_accents_do_not_matter():
    assert search.count_terms(words_of("les élèves français"), search.parse("eleve Francais").terms) == 2


def test_chinese_is_found_by_neighbouring_characters():
    words = words_of("我们使用数据库保存")
    assert search.count_terms(words, search.parse("数据库").terms) == 2
    assert search.count_terms(words, search.parse("据数").terms) == 0


def test_the_moment_is_where_the_words_stand_together():
    text = FILLER + "ring " + FILLER + "consistent hashing puts servers on a ring " + FILLER + "hashing " + FILLER
    words = words_of(text)
    at = next(word.start for word in words if word.text == "consistent")
    moment = search.locate(words, search.parse("consistent hashing ring").terms)
    assert abs(moment.start_seconds - at) <= 5
    assert moment.end_seconds - moment.start_seconds <= 15
    assert {word for number, word in enumerate(moment.words) if number in moment.marked} >= {
        "consistent",
        "hashing",
        "ring",
    }
    assert moment.terms_found == 3


def test_parts_put_the_snippet_together():
    moment = search.locate(words_of("durable steps are remembered"), search.parse("durable").terms)
    assert moment.parts[0] == ("durable", True)
    assert moment.snippet == "durable steps are remembered"


def test_no_term_means_no_moment():
    assert search.locate(words_of(FILLER), search.parse("zebra").terms) is None
    assert search.locate([], search.parse("zebra").terms) is None


def test_ranks_are_fused_by_their_reciprocals():
    scores = search.fuse(["a", "b"], ["b", "c"])
    assert max(scores, key=scores.get) == "b"
    assert scores["a"] == pytest.approx(1 / 61)
