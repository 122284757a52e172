"""Copies that browsers play, made by the real child from real files."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from app.adapters.media import NO_ROOM, Unusable, from_settings
from tests.videos.media_files import make_media

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def make(settings, tmp_path):
    """Make a copy of a file; returns what was answered, the copy opened, and what was told meanwhile."""
    told = []

    def do(path, *, seconds=4.0, most=1 << 30, tell=told.append):
        out = tmp_path / "made" / "copy"
        out.parent.mkdir(exist_ok=True)
        made = from_settings(settings).make_rendition(path, out, duration_seconds=seconds, most_bytes=most, tell=tell)
        assert made.size_bytes == out.stat().st_size
        return made, out, told

    return do


def film(path, *, size=(160, 120), codec="mpeg4", pixels="yuv420p", sound="libmp3lame", turn=0, aspect=None, seconds=2):
    """Write a film whose left half is black and whose right half is white, to be shown turned by `turn` degrees."""
    with av.open(str(path), "w", format="matroska" if path.suffix == ".mkv" else None) as out:
        stream = out.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if turn:
            stream.set_display_rotation(turn)
        sound = out.add_stream(sound, rate=48_000)
        sound.codec_context.layout = "mono"
        picture = np.zeros((size[1], size[0], 3), np.uint8)
        picture[:, size[0] // 2 :] = 255
        for number in range(seconds * 10):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        quiet = np.zeros((1, 48_000 * seconds), np.float32)
        block = av.AudioFrame.from_ndarray(quiet, format="fltp", layout="mono")
        block.sample_rate = 48_000
        for part in av.AudioResampler(format=sound.codec_context.format).resample(block):
            out.mux(sound.encode(part))
        out.mux(sound.encode(None))
    return path


def shown(path):
    """Return the first picture as it is shown: grey points, upright."""
    with av.open(str(path)) as found:
        frame = next(found.decode(video=0))
        return np.rot90(frame.to_ndarray(format="gray"), round(frame.rotation / 90))


def tracks(path):
    with av.open(str(path)) as found:
        picture = found.streams.video[0] if found.streams.video else None
        return (
            picture.codec_context.codec.canonical_name if picture else None,
            found.streams.audio[0].codec_context.codec.canonical_name,
            found.duration / 1_000_000,
        )


def test_what_browsers_know_in_a_box_that_they_do_not_is_copied_bit_by_bit(make, tmp_path):
    path = make_media(tmp_path / "talk.mkv")
    made, out, _ = make(path)
    assert (made.media_type, made.extension, made.width, made.height) == ("video/mp4", "mp4", 160, 120)
    assert tracks(out) == ("h264", "aac", pytest.approx(4, abs=0.2))
    with av.open(str(path)) as before, av.open(str(out)) as after:
        sizes = [
            [packet.size for packet in each.demux(each.streams.audio[0]) if packet.size] for each in (before, after)
        ]
    assert sizes[0] == sizes[1]
    assert out.read_bytes().index(b"moov") < out.read_bytes().index(b"mdat"), "it plays before it has come whole"


@pytest.mark.parametrize("name", ["talk.avi", "talk.mkv"])
def test_other_pictures_are_made_anew_and_keep_their_size_and_length(make, tmp_path, name):
    made, out, told = make(film(tmp_path / name), seconds=2.0)
    assert (made.media_type, made.width, made.height) == ("video/mp4", 160, 120)
    picture, sound, seconds = tracks(out)
    assert (picture, seconds) == ("h264", pytest.approx(2, abs=0.3))
    assert sound == ("aac" if name.endswith("avi") else "mp3"), "sound that browsers know is not made anew"
    assert all(0 <= share <= 1 for share in told)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"size": (162, 98), "codec": "mjpeg", "pixels": "yuvj444p"}, (162, 98)),
        ({"size": (320, 240), "aspect": Fraction(4, 3)}, (426, 240)),
        ({"size": (320, 180), "codec": "libx264", "pixels": "yuv420p10le"}, (320, 180)),
        ({"size": (2560, 1440), "seconds": 1}, (1920, 1080)),
    ],
    ids=["odd points", "points that are not square", "ten bits", "larger than 1080p"],
)
def test_every_shape_comes_out_upright_even_and_no_larger_than_1080p(make, tmp_path, given, expected):
    made, out, _ = make(film(tmp_path / "talk.mkv", **given), seconds=2.0)
    assert abs(made.width - expected[0]) <= 2
    assert made.height == expected[1]
    with av.open(str(out)) as copy:
        frame = next(copy.decode(video=0))
        assert frame.format.name in ("yuv420p", "yuvj420p")
        points = frame.to_ndarray(format="gray")
    assert points[:, : points.shape[1] // 3].mean() < 60
    assert points[:, -points.shape[1] // 3 :].mean() > 190


@pytest.mark.parametrize("turn", [90, 180, 270])
@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("made anew.mov", {"codec": "mpeg4", "sound": "aac"}),
        ("copied.mov", {"codec": "libx264", "sound": "pcm_s16le"}),
        ("copied.mkv", {"codec": "libx264", "sound": "aac"}),
        ("made anew.mkv", {"codec": "mpeg4", "sound": "aac"}),
    ],
)
def test_what_a_telephone_filmed_lying_down_is_shown_upright(make, tmp_path, name, how, turn):
    path = film(tmp_path / name, turn=turn, **how)
    before = shown(path)
    assert before.shape == ((120, 160) if turn == 180 else (160, 120))
    _, out, _ = make(path, seconds=2.0)
    after = shown(out)
    assert after.shape == before.shape
    assert np.abs(after.astype(int) - before).mean() < 20


def test_a_file_with_sound_alone_becomes_sound_alone(make, tmp_path):
    path = tmp_path / "talk.mkv"
    with av.open(str(path), "w", format="matroska") as out:
        sound = out.add_stream("ac3", rate=48_000)
        sound.codec_context.layout = "stereo"
        block = av.AudioFrame.from_ndarray(np.zeros((2, 96_000), np.float32), format="fltp", layout="stereo")
        block.sample_rate = 48_000
        out.mux(sound.encode(block))
        out.mux(sound.encode(None))
    made, copy, _ = make(path, seconds=2.0)
    assert (made.media_type, made.extension, made.width) == ("audio/mp4", "m4a", None)
    assert tracks(copy) == (None, "aac", pytest.approx(2, abs=0.2))


def test_a_copy_that_would_be_too_large_says_so(make, tmp_path):
    with pytest.raises(Unusable) as caught:
        make(film(tmp_path / "talk.avi"), seconds=2.0, most=500)
    assert caught.value.code == NO_ROOM


def test_what_cannot_be_decoded_is_refused_with_its_sentence(make, tmp_path):
    path = tmp_path / "talk.avi"
    path.write_bytes(b"RIFF" + bytes(5_000))
    with pytest.raises(Unusable, match=r"cannot be played|can be read here"):
        make(path)


def test_whoever_watches_can_stop_it(make, tmp_path):
    class Enough(Exception):
        pass

    def stop(_share):
        raise Enough

    with pytest.raises(Enough):
        make(film(tmp_path / "talk.avi", size=(1280, 720), seconds=6), seconds=6.0, tell=stop)
