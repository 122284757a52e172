"""Text without times gets the times of its words."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from app.adapters import alignment
from app.adapters.llm_fakes import FakeTranscriber
from app.adapters.speech import spelling
from app.lib import outside
from tests.sandbox.helpers import SAMPLES, piece_of

TEXT = (
    "The sea rises and falls twice every day. "
    "Most people blame the moon, and they are right, but that is only half of the story."
)
DICTIONARY = {"the", "sea", "don't", "nasa"}


@pytest.fixture
def gate():
    """Count how often the outside gate was passed."""
    passed = []
    outside.guard("counting", lambda: passed.append(1))
    yield passed
    outside._guards.pop("counting")


def is_ordered(words):
    return all(a.start <= a.end for a in words) and all(a.end <= b.start + 0.02 for a, b in pairwise(words))


def test_english_words_are_found_where_they_are_said(app, piece, gate):
    words = alignment.align(piece, TEXT, language="en-US")
    assert " ".join(word.text for word in words) == TEXT
    assert is_ordered(words)
    times = {word.text: word.start for word in words}
    assert times["The"] == pytest.approx(0.6, abs=0.35)
    assert 2.4 < times["day."] < 3.6
    assert 5.2 < times["moon,"] < 6.2
    assert 8.0 < times["story."] < 9.2
    assert gate == [1]


def test_a_phrase_of_a_sample_talk_is_aligned_within_a_second(app, tmp_path):
    talk = next(each for each in json.loads((SAMPLES / "index.json").read_text()) if each["name"] == "bread")
    phrase = next(each for each in talk["phrases"] if each["text"] == "until the next morning")
    script = (SAMPLES / talk["script"]).read_text().split("\n\n")
    path = piece_of("bread", 27.0, 41.0, tmp_path / "piece.mp3")
    words = alignment.align(path, script[2].replace("\n", " "), language="en")
    until = next(word for word in words if word.text == "until")
    assert until.start + 27.0 == pytest.approx(phrase["seconds"], abs=1.0)


def test_numbers_names_and_signs_are_aligned_too(app, piece):
    text = TEXT.replace("twice", "2x —").replace("people", "Phlogistonians").replace("half", "50%")
    words = alignment.align(piece, text, language="en")
    assert [word.text for word in words] == text.split()
    assert is_ordered(words)
    times = {word.text: word.start for word in words}
    assert 5.2 < times["moon,"] < 6.2


def test_another_language_is_spread_over_the_speech(app, piece, gate):
    text = "Das Meer steigt und fällt zweimal am Tag. Die meisten geben dem Mond die Schuld."
    words = alignment.align(piece, text, language="de", speech=[(0.5, 3.2), (3.7, 9.0)])
    assert " ".join(word.text for word in words) == text
    assert is_ordered(words)
    assert words[0].start == 0.5
    assert words[-1].end == pytest.approx(9.0)
    assert not any(word.start < 3.2 and word.end > 3.7 for word in words)


def test_speech_is_found_by_loudness_when_nobody_says(app, piece):
    words = alignment.align(piece, "un deux trois quatre cinq six sept huit", language="fr")
    assert 0.2 < words[0].start < 0.8
    assert 8.5 < words[-1].end <= 9.7


def test_a_script_without_spaces_gets_a_time_for_each_character(app, piece):
    words = alignment.align(piece, "海は一日に二回上がります。", language="ja", speech=[(0, 5)])
    assert "".join(word.text for word in words) == "海は一日に二回上がります。"
    assert is_ordered(words)


@pytest.mark.parametrize("text", ["zzz 🙂 ---", "— — —", "the " * 300, "x" * 500, "\x00\ud800"])
def test_text_that_was_never_said_still_gets_times(app, piece, text):
    words = alignment.align(piece, text, language="en")
    assert is_ordered(words)
    assert all(word.end <= 120 for word in words)


def test_a_file_that_cannot_be_decoded_still_gives_words(app, tmp_path):
    path = tmp_path / "broken.mp3"
    path.write_bytes(b"nothing" * 50)
    assert [word.text for word in alignment.align(path, "Two words", language="en")] == ["Two", "words"]
    assert [word.text for word in alignment.align(path, "Deux mots", language="fr", speech=[(1, 2)])] == [
        "Deux",
        "mots",
    ]


def test_no_text_has_no_words(app, piece, gate):
    assert alignment.align(piece, "  \n", language="en") == []
    assert gate == []


def test_spreading_never_leaves_the_speech():
    words = alignment.spread(["a", "bb", "ccc", "dddd"], [(1.0, 1.2), (5.0, 5.5), (8.0, 9.0)])
    assert all(
        any(a <= start <= end <= b + 1e-9 for a, b in [(1.0, 1.2), (5.0, 5.5), (8.0, 9.0)]) for start, end in words
    )


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("Sea,", ["sea"]),
        ("don\u2019t", ["don't"]),
        ("25%", ["twenty", "five", "percent"]),
        ("1,234", ["one", "thousand", "two", "hundred", "thirty", "four"]),
        ("1999", ["nineteen", "ninety", "nine"]),
        ("2000", ["two", "thousand"]),
        ("21st", ["twenty", "first"]),
        ("007", ["zero", "zero", "seven"]),
        ("NASA", ["nasa"]),
        ("HTTP", ["h", "t", "t", "p"]),
        ("state-of-the-art", ["state", "of", "the", "art"]),
        ("café", ["cafe"]),
        ("—", []),
        ("🙂", []),
        ("1" * 40, ["one"] * 40),
    ],
)
def test_a_written_word_is_said_like_this(word, said):
    assert spelling.spoken(word, DICTIONARY) == said


def test_every_latin_word_can_be_pronounced():
    assert spelling.sounds("throughline") == "TH R AO L IH N"
    assert spelling.sounds("kubernetes")
    assert spelling.sounds("e")
    assert spelling.sounds("жук") == ""


def test_a_text_only_fake_has_no_words(app, piece):
    assert FakeTranscriber(script=["Hello."]).transcribe(piece).words == ()
