"""The real `openai` client transcribes against the sandbox."""

from __future__ import annotations

import openai
import pysubs2
import pytest


def transcribe(client, path, model="sandbox-transcribe", **options):
    with path.open("rb") as file:
        return client.audio.transcriptions.create(model=model, file=file, **options)


def test_json_has_the_text_and_the_seconds_used(client, piece):
    answer = transcribe(client, piece)
    assert "twice every day" in answer.text.lower()
    assert answer.usage.seconds == pytest.approx(9.6, abs=0.2)


def test_text_is_the_bare_text(client, piece):
    assert "half of the story" in transcribe(client, piece, response_format="text")


def test_verbose_json_has_words_with_times_and_confidence(client, piece):
    answer = transcribe(client, piece, response_format="verbose_json", timestamp_granularities=["word"])
    assert answer.language == "english"
    assert answer.duration == pytest.approx(9.6, abs=0.2)
    moon = next(word for word in answer.words if word.word == "moon")
    assert 5.0 < moon.start < moon.end < 6.5
    assert 0 <= moon.confidence <= 1
    starts = [word.start for word in answer.words]
    assert starts == sorted(starts)
    assert answer.segments is None


def test_verbose_json_has_segments_that_end_at_pauses(client, piece):
    answer = transcribe(client, piece, response_format="verbose_json", timestamp_granularities=["segment", "word"])
    assert [segment.id for segment in answer.segments] == list(range(len(answer.segments)))
    assert len(answer.segments) >= 2
    assert answer.segments[0].text.strip().endswith("day.")
    assert answer.segments[0].text.strip()[0].isupper()
    assert answer.words
    assert all(segment.avg_logprob <= 0 for segment in answer.segments)


def test_segments_are_what_verbose_json_has_unless_told(client, piece):
    answer = transcribe(client, piece, response_format="verbose_json")
    assert answer.segments
    assert answer.words is None


@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_captions_can_be_read_by_a_captions_library(client, piece, kind):
    captions = pysubs2.SSAFile.from_string(transcribe(client, piece, response_format=kind), format_=kind)
    assert "twice every day" in captions[0].text.lower()
    assert captions[0].start < 1500 < captions[-1].end < 9700


def test_a_text_only_model_gives_text(client, piece):
    assert "moon" in transcribe(client, piece, model="text-only").text


@pytest.mark.parametrize("kind", ["verbose_json", "srt", "vtt"])
def test_a_text_only_model_refuses_formats_with_times(client, piece, kind):
    with pytest.raises(openai.BadRequestError, match="not compatible with model 'text-only'") as caught:
        transcribe(client, piece, model="text-only", response_format=kind)
    assert caught.value.param == "response_format"


def test_another_language_is_refused_with_the_ways_out(client, piece):
    with pytest.raises(openai.BadRequestError) as caught:
        transcribe(client, piece, language="de")
    assert caught.value.code == "unsupported_language"
    for way_out in ("captions", "OPENAI_API_KEY", "local transcription server"):
        assert way_out in caught.value.message


def test_english_with_a_region_is_english(client, piece):
    assert transcribe(client, piece, language="en-GB", prompt="The sea.").text


def test_a_file_that_is_no_sound_is_refused(client, tmp_path):
    path = tmp_path / "noise.mp3"
    path.write_bytes(b"this is no sound" * 100)
    with pytest.raises(openai.BadRequestError, match="Invalid file format"):
        transcribe(client, path)


def test_an_empty_file_is_refused(client, tmp_path):
    path = tmp_path / "empty.mp3"
    path.touch()
    with pytest.raises(openai.BadRequestError):
        transcribe(client, path)


def test_silence_is_transcribed_as_nothing(client, tmp_path):
    import numpy as np

    from tests.sandbox.helpers import write_mp3

    write_mp3(np.zeros(32_000, np.int16), tmp_path / "silence.mp3")
    answer = transcribe(client, tmp_path / "silence.mp3", response_format="verbose_json")
    assert answer.text == ""
    assert answer.segments == []


def test_unknown_models_and_formats_are_refused(client, piece):
    with pytest.raises(openai.NotFoundError) as caught:
        transcribe(client, piece, model="whisper-99")
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError):
        transcribe(client, piece, response_format="diarized_json")


def test_the_same_sound_gives_the_same_answer(client, piece):
    assert transcribe(client, piece).text == transcribe(client, piece).text
