"""Media files of every accepted format are understood, and hostile ones cost nobody else anything."""

import os
import struct
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from app.adapters import media
from app.adapters.media import ChildMedia, Unusable
from app.adapters.storage import StorageFull
from app.lib import child
from app.settings import Settings
from tests.videos.media_files import FORMATS, KINDS, make_media


@pytest.fixture
def reader() -> media.Media:
    return media.from_settings(Settings(media_timeout_seconds=60))


def refusal(reader, path) -> str:
    with pytest.raises(Unusable) as caught:
        reader.probe(path)
    assert caught.value.status == 422
    assert caught.value.message.endswith(".")
    return caught.value.code


@pytest.mark.parametrize("extension", FORMATS)
def test_every_accepted_format_is_known_by_its_content(reader, tmp_path, extension):
    path = make_media(tmp_path / f"talk.{extension}", 4).rename(tmp_path / "talk.bin")
    found = reader.probe(path)
    assert found.media_type == KINDS[extension]
    assert found.duration_seconds == pytest.approx(4, abs=0.1)
    assert found.size_bytes == path.stat().st_size
    assert (found.width, found.height) == ((160, 120) if FORMATS[extension][2] else (None, None))
    assert found.audio_codec
    assert len(found.content_hash) == 64


@pytest.mark.parametrize("extension", FORMATS)
def test_pieces_cover_the_sound_and_are_cut_in_the_pauses(reader, tmp_path, extension):
    path = make_media(tmp_path / f"talk.{extension}", 12)
    pieces = reader.extract_pieces(path, tmp_path, max_seconds=4, search_seconds=2)
    assert pieces[0].start_seconds == 0
    assert pieces[-1].end_seconds == pytest.approx(12, abs=0.1)
    for before, after in pairwise(pieces):
        assert before.end_seconds == after.start_seconds
        assert 0.95 <= after.start_seconds % 1.5 <= 1.5  # the tone pauses in the last third of every 1.5 s
    for piece in pieces:
        with av.open(str(piece.path)) as container:
            stream = container.streams.audio[0]
            assert (stream.codec_context.sample_rate, stream.codec_context.channels) == (16_000, 1)


def test_a_hole_in_the_times_becomes_silence_so_that_places_stay_true(reader, tmp_path):
    source = make_media(tmp_path / "talk.mka.mkv", 4)
    holed = tmp_path / "holed.mkv"
    with av.open(str(source)) as given, av.open(str(holed), "w", format="matroska") as out:
        sound = given.streams.audio[0]
        track = out.add_stream_from_template(sound)
        for packet in given.demux(sound):
            if packet.pts is None:
                continue
            shift = 10 if packet.pts * packet.time_base >= 2 else 0
            packet.pts += int(shift / packet.time_base)
            packet.dts = packet.pts
            packet.stream = track
            out.mux(packet)
    pieces = reader.extract_pieces(holed, tmp_path)
    assert pieces[-1].end_seconds == pytest.approx(14, abs=0.2)
    silent = [(end, start) for (_, end), (start, _) in pairwise(pieces[0].speech)]
    assert any(end < 2.3 and start > 11.7 for end, start in silent)


def test_memory_does_not_grow_with_the_length(tmp_path):
    """Forty minutes of sound passes through a child that may hold a small part of them."""
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        data = 2400 * 8000 * 2
        file.write(
            b"RIFF" + struct.pack("<I", 36 + data) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
        )
        file.write(b"data" + struct.pack("<I", data))
        block = (
            (np.sin(np.arange(8000 * 60) / 5) * 9000 * (np.arange(8000 * 60) % 24000 < 16000)).astype("<i2").tobytes()
        )
        for _ in range(40):
            file.write(block)
    limits = child.Limits(wall_seconds=100, cpu_seconds=100, memory_bytes=140 << 20)  # the samples are 154 MB
    pieces = ChildMedia(limits, longest_seconds=4000).extract_pieces(path, tmp_path, max_seconds=30, search_seconds=8)
    assert pieces[-1].end_seconds == pytest.approx(2400, abs=1)


def test_a_poster_is_a_jpeg_of_the_picture(reader, tmp_path):
    assert reader.poster(make_media(tmp_path / "talk.mp4"), tmp_path / "poster.jpg")
    with av.open(str(tmp_path / "poster.jpg")) as picture:
        assert (picture.streams.video[0].width, picture.streams.video[0].height) == (640, 480)


def test_sound_has_no_poster(reader, tmp_path):
    assert not reader.poster(make_media(tmp_path / "talk.mp3"), tmp_path / "poster.jpg")


def test_a_full_disk_is_not_taken_for_a_damaged_file(reader, tmp_path):
    path = make_media(tmp_path / "talk.mp4")
    (tmp_path / "piece-00000.mp3").symlink_to("/dev/full")
    with pytest.raises(StorageFull):
        reader.extract_pieces(path, tmp_path)
    with pytest.raises(StorageFull):
        reader.poster(path, Path("/dev/full"))


def test_the_waveform_shows_the_pauses(reader, tmp_path):
    peaks = reader.waveform(make_media(tmp_path / "talk.wav", 6), 6.0)
    assert 900 <= len(peaks) <= 1000
    assert peaks[50] == pytest.approx(0.5, abs=0.05)
    assert max(peaks[int(len(peaks) * 1.1 / 6) : int(len(peaks) * 1.4 / 6)]) < 0.05


@pytest.mark.parametrize(
    ("extension", "codec"), [("mp4", "mov_text"), ("mkv", "subrip"), ("mkv", "webvtt"), ("mkv", "ass")]
)
def test_text_tracks_inside_a_file_are_found_and_read(reader, tmp_path, extension, codec):
    path = make_with_subtitles(tmp_path, extension, codec)
    assert [track.codec for track in reader.probe(path).subtitles] == [codec]
    (track,) = reader.subtitles(path)
    assert track.cues == ((0.0, 1.5, "Hello there"), (1.5, 3.0, "Zweite Zeile"))


def make_with_subtitles(folder: Path, extension: str, codec: str) -> Path:
    source, path = make_media(folder / f"plain.{extension}"), folder / f"titled.{extension}"
    lines = [(0, 1500, "Hello there"), (1500, 1500, "Zweite Zeile")]
    with av.open(str(source)) as given, av.open(str(path), "w", format=FORMATS[extension][0]) as out:
        sound = given.streams.audio[0]
        track, texts = out.add_stream_from_template(sound), out.add_stream(codec)
        texts.codec_context.subtitle_header = b"[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\nFormat: Name\nStyle: Default\n\n[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
        for packet in given.demux(sound):
            if packet.pts is not None:
                packet.stream = track
                out.mux(packet)
        for start, length, text in lines:
            data = text.encode()
            if codec == "mov_text":
                data = struct.pack(">H", len(data)) + data
            if codec == "ass":
                data = b"0,0,Default,,0,0,0,,{\\i1}" + data
            if codec == "subrip":
                data = b"<i>" + data + b"</i>"
            packet = av.Packet(data)
            packet.stream, packet.time_base = texts, Fraction(1, 1000)
            packet.pts, packet.dts, packet.duration = start, start, length
            out.mux(packet)
    return path


def test_a_video_without_sound_is_refused(reader, tmp_path):
    assert refusal(reader, make_media(tmp_path / "silent.mp4", sound=False)) == "no-audio"


def test_text_named_mp4_is_no_media(reader, tmp_path):
    (tmp_path / "talk.mp4").write_text("Dear sir or madam,\n" * 500)
    assert refusal(reader, tmp_path / "talk.mp4") == "not-media"


def test_subtitles_are_no_media(reader, tmp_path):
    (tmp_path / "talk.mp4").write_text("1\n00:00:00,000 --> 00:00:02,000\nHello\n\n")
    assert refusal(reader, tmp_path / "talk.mp4") == "not-media"


def test_a_playlist_that_names_other_files_is_no_media(reader, tmp_path):
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")
    assert refusal(reader, tmp_path / "list.mp4") == "not-media"
    (tmp_path / "concat.mp4").write_text("ffconcat version 1.0\nfile /etc/passwd\n")
    assert refusal(reader, tmp_path / "concat.mp4") == "not-media"


def test_an_empty_file_is_refused(reader, tmp_path):
    (tmp_path / "talk.mp4").touch()
    assert refusal(reader, tmp_path / "talk.mp4") == "empty"


def test_zero_seconds_are_refused(reader, tmp_path):
    path = tmp_path / "nothing.wav"
    path.write_bytes(
        b"RIFF"
        + struct.pack("<I", 36)
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
        + b"data"
        + bytes(4)
    )
    assert refusal(reader, path) in {"zero-seconds", "damaged"}


@pytest.mark.parametrize("extension", FORMATS)
def test_random_bytes_are_refused(reader, tmp_path, extension):
    path = tmp_path / f"noise.{extension}"
    path.write_bytes(np.random.default_rng(7).bytes(200_000))
    assert refusal(reader, path) in {"not-media", "damaged"}


def test_a_file_cut_before_its_index_is_damaged(reader, tmp_path):
    path = make_media(tmp_path / "talk.mp4", 20)
    os.truncate(path, path.stat().st_size // 2)
    assert refusal(reader, path) == "damaged"


def test_a_file_cut_behind_its_index_ends_too_early(reader, tmp_path):
    path = make_media(tmp_path / "talk.mp4", 20, options={"movflags": "faststart"})
    os.truncate(path, path.stat().st_size // 2)
    assert refusal(reader, path) == "cut-short"


def test_overwritten_sound_is_damaged(reader, tmp_path):
    path = make_media(tmp_path / "talk.flac", 20)
    data = bytearray(path.read_bytes())
    data[200:] = np.random.default_rng(7).bytes(len(data) - 200)
    path.write_bytes(data)
    assert refusal(reader, path) in {"damaged", "zero-seconds", "not-media"}


def test_a_header_that_claims_40_gb_is_measured_not_believed(reader, tmp_path):
    path = make_media(tmp_path / "talk.wav", 2)
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[4:8] = data[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert reader.probe(path).duration_seconds == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(
    ("function", "code"), [("spin", "too-demanding"), ("crash", "damaged"), ("swallow_memory", "unpacks-too-large")]
)
def test_a_decoder_that_hangs_crashes_or_hogs_memory_costs_that_file_only(
    monkeypatch, tmp_path, function, code, reader
):
    good = make_media(tmp_path / "talk.mp3")
    bad = ChildMedia(child.Limits(wall_seconds=5, cpu_seconds=1, memory_bytes=200 << 20), longest_seconds=60)
    with monkeypatch.context() as patch:
        patch.setattr(media, "CHILD", Path(__file__).parent.parent / "lib" / "child_target.py")
        with pytest.raises(Unusable) as caught:
            bad._call(function, {})
    assert caught.value.code == code
    assert reader.probe(good).audio_codec == "mp3"


def test_the_fake_answers_what_it_was_told(tmp_path):
    fake = media.FakeMedia(Unusable("no-audio"))
    assert refusal(fake, tmp_path / "talk.mp4") == "no-audio"
    assert fake.calls == ["probe talk.mp4"]
