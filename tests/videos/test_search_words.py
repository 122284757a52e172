"""The pure part of search: terms, fusion, the moment inside a chunk."""

import pytest

from app.lib import words as words_lib
from app.videos import cues, moments, search


def words_of(text, seconds=0.4):
    made = cues.build(cues.spread(text, 0, len(text.split()) * seconds))
    return [word for number, cue in enumerate(made) for word in moments.timed(cue.words, number, cue.start)]


def terms_in(text, asked):
    """Count the terms of a query in a text, as it is ranked; what is marked in it must be the same ones."""
    terms = search.parse(asked).terms
    moment = moments.locate(words_of(text), terms)
    found = search.match(search.search_text(words_lib.split_words(text)), terms).terms
    assert (moment.terms_found if moment else 0) == found
    return found


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
    text = "we were chunking transcripts"
    for asked in ("chunk", "chunks", "chunking", "chunked", "Transcript"):
        assert terms_in(text, asked) == 1


def test_accents_do_not_matter():
    assert terms_in("les élèves français", "eleve Francais") == 2


def test_chinese_is_found_by_neighbouring_characters():
    assert terms_in("我们使用数据库保存", "数据库") == 2
    assert terms_in("我们使用数据库保存", "据数") == 0


def test_the_moment_is_where_the_words_stand_together():
    text = FILLER + "ring " + FILLER + "consistent hashing puts servers on a ring " + FILLER + "hashing " + FILLER
    words = words_of(text)
    at = next(word.start for word in words if word.text == "consistent")
    moment = moments.locate(words, search.parse("consistent hashing ring").terms)
    assert abs(moment.start_seconds - at) <= 5
    assert moment.end_seconds - moment.start_seconds <= 15
    assert {word for number, word in enumerate(moment.words) if number in moment.marked} >= {
        "consistent",
        "hashing",
        "ring",
    }
    assert moment.terms_found == 3


def test_parts_put_the_snippet_together():
    moment = moments.locate(words_of("durable steps are remembered"), search.parse("durable").terms)
    assert moment.parts[0] == ("durable", True)
    assert moment.snippet == "durable steps are remembered"


def test_no_term_means_no_moment():
    assert moments.locate(words_of(FILLER), search.parse("zebra").terms) is None
    assert moments.locate([], search.parse("zebra").terms) is None


def test_ranks_are_fused_by_their_reciprocals():
    scores = search.fuse(["a", "b"], ["b", "c"])
    assert max(scores, key=scores.get) == "b"
    assert scores["a"] == pytest.approx(1 / 61)


@pytest.mark.parametrize(
    ("asked", "terms", "phrases"),
    [
        ('"consistent hashing" ring', (("consistent", "hashing"), ("ring",)), (("consistent", "hashing"),)),
        (
            "«\u00a0l\u2019hôpital public\u00a0» français",
            (("l", "hopital", "public"), ("francai",)),
            (("l", "hopital", "public"),),
        ),
        ("“to be”", (("to", "be"),), (("to", "be"),)),
        ("「数据库」", (("数", "据", "库"),), (("数", "据", "库"),)),
        ('an "unfinished quotation', (("unfinish",), ("quotation",)), ()),
        ('""', (), ()),
        ('"!!!" ring', (("ring",),), ()),
    ],
)
def test_what_stands_in_quotation_marks_is_one_term(asked, terms, phrases):
    query = search.parse(asked)
    assert (query.terms, query.phrases) == (terms, phrases)
    assert not set(query.text) & set("“”«»「」")


def test_a_phrase_is_found_word_for_word_and_marked_as_a_whole():
    text = FILLER + "hashing that is consistent " + FILLER + "we call it consistent hashing here " + FILLER
    assert terms_in(text, '"consistent hashing"') == 1
    assert terms_in(text, '"hashing consistent"') == 0
    moment = moments.locate(words_of(text), search.parse('"consistent hashing"').terms)
    assert [moment.words[number] for number in sorted(moment.marked)] == ["consistent", "hashing"]


def test_tiers_go_from_all_words_to_half_of_them():
    assert search.parse("ringing").tiers == ["ring:*"]
    assert search.parse("ring server").tiers == ["server:* & ring:*", "server:*", "ring:*"]
    assert search.parse("ring a server hashes").tiers == [
        "server:* & ring:* & hash:*",
        "server:* & ring:*",
        "ring:* & hash:*",
    ]
    assert search.parse('"a ring" server').tiers == ["(a <-> ring) & server:*", "(a <-> ring)"]
    assert len(search.parse(" ".join(f"word{n}x" for n in range(30))).tiers) == 5


def test_the_nearest_place_decides_between_texts_with_the_same_words():
    terms = search.parse("alpha beta").terms
    near = search.match("alpha so beta " + "so on " * 100, terms)
    far = search.match("alpha " + "so on " * 100 + "beta", terms)
    assert (near.terms, near.near, far.terms, far.near) == (2, 2, 2, 1)
    assert near.span < 20
