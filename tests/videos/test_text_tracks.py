"""Captions inside a file: which ones are taken at upload, and what a person may choose at "Transcribe again"."""

from __future__ import annotations

import io
import re
from fractions import Fraction
from pathlib import Path
from uuid import UUID

import av
import pytest
from av.stream import Disposition
from hypothesis import given
from hypothesis import strategies as st

from app.adapters.media import Subtitles
from app.db import db
from app.engine import testing
from app.videos import text_tracks
from app.videos.models import Transcript, Video
from tests.videos.browsing import headers, post, post_video
from tests.videos.media_files import make_media
from tests.videos.talks import SRT

TRACKS = [
    ("ger", "", "Guten Tag aus der Datei"),
    ("fre", "forced", "RUE DE LA PAIX"),
    ("fre", "", "Bonjour du fichier"),
    ("", "", "No language is said"),
    ("eng", "SDH", ""),
]
ASS_HEADER = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name
Style: Default

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def make_film(folder: Path, tracks=TRACKS) -> Path:
    """Make an mkv with sound and a text track for each of `(language, title, text)`."""
    source, path = make_media(folder / "plain.mkv"), folder / "film.mkv"
    with av.open(str(source)) as origin, av.open(str(path), "w", format="matroska") as out:
        sound = origin.streams.audio[0]
        track = out.add_stream_from_template(sound)
        texts = [out.add_stream("subrip") for _ in tracks]
        for stream, (language, title, _) in zip(texts, tracks, strict=True):
            stream.codec_context.subtitle_header = (
                ASS_HEADER  # FFmpeg's encoders of text ask for one, whatever they write
            )
            stream.disposition = Disposition.forced if title == "forced" else Disposition.default
            stream.metadata.update({"language": language or "und", "title": title})
        for packet in origin.demux(sound):
            if packet.pts is not None:
                packet.stream = track
                out.mux(packet)
        for stream, (_, _, text) in zip(texts, tracks, strict=True):
            packet = av.Packet((text or " ").encode())
            packet.stream, packet.time_base = stream, Fraction(1, 1000)
            packet.pts, packet.dts, packet.duration = 0, 0, 1500
            out.mux(packet)
    return path


def upload(browser, path: Path, **fields):
    answer = post_video(browser, path.read_bytes(), path.name, **fields)
    assert answer.status_code == 201, answer.text
    testing.drain(advance=True)
    return browser.get(f"/api/videos/{answer.json['id']}").json


def text_of(browser, video) -> str:
    return browser.get(f"/api/videos/{video['id']}/transcript.txt").text


def transcript_of(video) -> Transcript:
    made = db.session.get(Video, UUID(video["id"]), populate_existing=True)
    return db.session.get(Transcript, made.transcript_id)


@pytest.mark.parametrize(
    ("language", "said", "named"),
    [
        ("fr", "Bonjour du fichier", "fr"),
        ("de-AT", "Guten Tag aus der Datei", "de"),
        ("en", "No language is said", "en"),  # the English one says nothing
        ("ja", "No language is said", "ja"),
    ],
)
def test_the_track_in_the_talk_s_language_is_taken_at_upload(alice, models, tmp_path, language, said, named):  # noqa: PLR0917
    video = upload(alice, make_film(tmp_path), language=language)
    assert (video["status"], models[0].calls) == ("completed", [])
    assert said in text_of(alice, video)
    assert transcript_of(video).language == named


def test_a_track_in_another_language_is_taken_when_it_is_all_there_is(alice, models, tmp_path):
    video = upload(alice, make_film(tmp_path, [("jpn", "", "こんにちは")]), language="en")
    assert "こんにちは" in text_of(alice, video)
    assert transcript_of(video).language == "ja"
    assert video["language"] == "en"  # what was said of the talk stays


def test_the_tracks_are_told_and_offered_and_the_chosen_one_is_taken(alice, models, tmp_path):
    video = upload(alice, make_film(tmp_path), language="de", captions=(io.BytesIO(SRT), "talk.srt"))
    assert [track["name"] for track in video["text_tracks"]] == [
        "German",
        "French (forced)",
        "French",
        "track 4",
        "English (SDH)",
    ]
    page = alice.get(f"/videos/{video['id']}").text
    choice = re.search(r'<select[^>]* id="again-from".*?</select>', page, re.DOTALL)[0]
    assert re.findall(r'value="([^"]*)"', choice) == [
        "sound",
        "captions",
        "track:1",
        "track:2",
        "track:3",
        "track:4",
        "track:5",
    ]
    assert "Captions inside the file: French (forced)" in choice
    answer = post(alice, f"/videos/{video['id']}/transcribe-again", data={"text_from": "track:3"})
    assert answer.status_code == 303
    testing.drain(advance=True)
    assert "Bonjour du fichier" in text_of(alice, video)
    assert transcript_of(video).language == "fr"
    post(alice, f"/videos/{video['id']}/transcribe-again", data={"text_from": "captions"})
    testing.drain(advance=True)
    assert "Consistent hashing" in text_of(alice, video)
    assert models[0].calls == []
    post(alice, f"/videos/{video['id']}/transcribe-again", data={"text_from": "sound", "language": "en"})
    testing.drain(advance=True)
    assert len(models[0].calls) == 1


def test_a_chosen_track_without_text_says_so_and_leaves_the_transcript(alice, models, tmp_path):
    video = upload(alice, make_film(tmp_path), language="fr")
    assert post(alice, f"/api/videos/{video['id']}/transcribe", json={"text_from": "track:5"}).status_code == 200
    testing.drain(advance=True)
    shown = alice.get(f"/api/videos/{video['id']}").json
    assert shown["status"] == "failed"
    assert "hold no text" in str(shown["error"])
    assert "Bonjour" in text_of(alice, video)


@pytest.mark.parametrize("choice", ["track:99", "captions", "track:x", "track:", "anything", "track:²"])
def test_text_that_is_not_there_is_refused_and_nothing_changes(alice, models, tmp_path, choice):
    video = upload(alice, make_film(tmp_path), language="fr")
    wish = {"text_from": choice, "language": "de", "vocabulary": "Elbe"}
    answer = post(alice, f"/api/videos/{video['id']}/transcribe", json=wish)
    assert answer.status_code == 409
    assert "no such captions" in answer.json["message"]
    shown = alice.get(f"/api/videos/{video['id']}").json
    assert (shown["status"], shown["language"], shown["vocabulary"]) == ("completed", "fr", "")


@pytest.mark.parametrize("wish", [{"text_from": 7}, {"language": "english please"}, {"vocabulary": ["a"]}])
def test_a_wish_that_cannot_be_read_is_refused_with_a_sentence(alice, models, tmp_path, wish):
    video = upload(alice, make_film(tmp_path), language="fr")
    assert post(alice, f"/api/videos/{video['id']}/transcribe", json=wish).status_code == 422


def test_names_and_terms_reach_the_model_from_every_door(alice, models, tmp_path):
    video = upload(alice, make_media(tmp_path / "talk.mp4"), vocabulary="Elbe, Dr. Okonkwo")
    assert models[0].calls[-1].vocabulary == "Elbe, Dr. Okonkwo"
    again_ = {"vocabulary": "HNSW\r\nhalfvec", "language": "en"}
    post(alice, f"/videos/{video['id']}/transcribe-again", data=again_)
    testing.drain(advance=True)
    assert models[0].calls[-1].vocabulary == "HNSW, halfvec"
    details = {"title": "T", "tags": "", "description": "", "language": "en", "vocabulary": "Wasserstein"}
    post(alice, f"/videos/{video['id']}/details", data=details)
    post(alice, f"/api/videos/{video['id']}/transcribe")
    testing.drain(advance=True)
    assert models[0].calls[-1].vocabulary == "Wasserstein"
    assert 'value="Wasserstein"' in alice.get(f"/videos/{video['id']}/details").text
    alice.patch(f"/api/videos/{video['id']}", json={"vocabulary": ""}, headers=headers(alice))
    post(alice, f"/api/videos/{video['id']}/transcribe")
    testing.drain(advance=True)
    assert models[0].calls[-1].vocabulary == ""
    assert post(alice, "/api/videos", json={"upload_id": "x", "vocabulary": "a" * 1001}).status_code in (404, 422)


@given(st.text(max_size=30))
def test_what_a_file_calls_a_language_never_breaks(name):
    tag = text_tracks.tag_of(name)
    assert len(tag) <= 20
    text_tracks.in_order([Subtitles(1, name, "subrip")], "en")
    text_tracks.in_order([Subtitles(1, "fr", "subrip")], name)


@pytest.mark.parametrize(
    ("name", "tag"), [("fre", "fr"), ("fra", "fr"), ("ger", "de"), ("chi", "zh"), ("spa", "es"), ("und", ""), ("", "")]
)
def test_both_three_letter_names_of_a_language_are_known(name, tag):
    assert text_tracks.tag_of(name) == tag
