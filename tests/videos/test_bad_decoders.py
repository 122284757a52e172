"""A decoder that crashes, hangs or swallows memory, at every place where a file is decoded, costs that file only."""

from __future__ import annotations

import shutil
from pathlib import Path
from uuid import UUID

import av
import pytest

from app import engine
from app.adapters import media as adapter
from app.adapters.media import SENTENCES, ChildMedia
from app.adapters.media_child import sound
from app.db import db
from app.engine import testing
from app.lib import child
from app.videos.models import Video
from tests.videos.browsing import post_video
from tests.videos.media_files import make_media
from tests.videos.talks import files_of_runs

pytestmark = pytest.mark.timeout(120)

GOOD = ChildMedia(child.Limits(wall_seconds=60, cpu_seconds=60), longest_seconds=600)
TIGHT = ChildMedia(child.Limits(wall_seconds=40, cpu_seconds=3, memory_bytes=400 << 20), longest_seconds=600)
PLACES = {
    "poster": "pictures.poster",
    "subtitles": "texts.subtitles",
    "pieces": "pieces.extract_pieces",
    "waveform": "sound.waveform",
    "rendition": "rendition.make_rendition",
}
DEEDS = {
    "crashes": ("import os; os.abort()", "damaged"),
    "hangs": ("while True: pass", "too-demanding"),
    "eats memory": ("hoard = [bytearray(16 << 20) for _ in range(1000)]", "unpacks-too-large"),
}


@pytest.fixture
def break_decoder(app, models, monkeypatch, tmp_path):
    """Put a media child in place that is the real one but for one function; returns how, and how it is taken away."""

    def use(media: ChildMedia, folder: Path) -> None:
        monkeypatch.setitem(app.extensions, "throughline.media", media)
        monkeypatch.setattr(adapter, "CHILD", folder)

    real = adapter.CHILD
    usual = {name: getattr(adapter, name) for name in ("COPY_SECONDS", "COPY_SECONDS_EACH")}

    def do(place: str, deed: str) -> None:
        module, _, function = PLACES[place].partition(".")
        folder = Path(shutil.copytree(real, tmp_path / "broken", ignore=shutil.ignore_patterns("__pycache__")))
        with (folder / f"{module}.py").open("a") as code:
            code.write(f"\n\ndef {function}(**_):\n    {DEEDS[deed][0]}\n")
        if place == "rendition":  # its time fits the length of the file
            monkeypatch.setattr(adapter, "COPY_SECONDS", 2.0)
            monkeypatch.setattr(adapter, "COPY_SECONDS_EACH", 0.0)
        use(TIGHT, folder)

    def mend() -> None:
        for name, value in usual.items():
            monkeypatch.setattr(adapter, name, value)
        use(GOOD, real)

    do.mend = mend
    return do


def upload(browser, path: Path):
    return post_video(browser, path.read_bytes(), path.name)


def found(answer) -> Video:
    return db.session.get(Video, UUID(answer.json["id"]), populate_existing=True)


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("place", PLACES)
def test_only_that_file_pays_and_the_next_one_is_made(app, alice, mails, break_decoder, tmp_path, place, deed):  # noqa: PLR0917
    sentence = SENTENCES[DEEDS[deed][1]]
    break_decoder(place, deed)
    answer = upload(alice, make_media(tmp_path / "talk.mkv"))
    if (place, deed) == ("poster", "eats memory"):  # whoever plays it would meet the same
        assert (answer.status_code, answer.json["message"]) == (422, sentence)
        assert list(db.session.scalars(db.select(Video))) == []
        assert engine.list_runs() == []
    else:
        assert answer.status_code == 201, answer.text
        testing.drain(advance=True)
        _check_what_is_left(alice, mails, answer, place, sentence)
        assert files_of_runs(app) == []

    break_decoder.mend()
    next_one = upload(alice, make_media(tmp_path / "next.mkv", seconds=3))
    assert next_one.status_code == 201, next_one.text
    testing.drain(advance=True)
    made = found(next_one)
    assert (made.status, made.rendition_status) == ("completed", "ready")
    assert made.poster_key
    assert made.waveform


def _check_what_is_left(browser, mails, answer, place: str, sentence: str) -> None:
    video = found(answer)
    failed = [run.workflow for run in engine.list_runs() if run.status in {"failed", "dead"}]
    if place == "pieces":
        assert (video.status, video.error_message) == ("failed", sentence)
        assert sentence in browser.get(f"/videos/{video.id}").text
        assert "transcribe-video" in failed
    else:
        assert (video.status, video.error_message) == ("completed", None)
    assert bool(video.poster_key) == (place != "poster")
    assert bool(video.waveform) == (place != "waveform")
    wanted = ("failed", sentence) if place == "rendition" else ("ready", None)
    assert (video.rendition_status, video.rendition_error) == wanted
    assert failed == {
        "pieces": ["transcribe-video"],
        "waveform": ["draw-waveform"],
        "rendition": ["make-rendition"],
    }.get(place, [])
    assert len(mails.sent) == 1  # about the transcript; what has no transcript to lose sends none


class Packets:
    """A container whose sound is decoded until a packet needs more memory than there is."""

    def demux(self, _sound):
        yield from (Packet([b"frame"]), Packet(av.error.InvalidDataError(1, "broken")), Packet([b"later"]))
        yield Packet(av.error.MemoryError(12, "too large"))


class Packet:
    def __init__(self, decoded):
        self.decoded = decoded

    def decode(self):
        if isinstance(self.decoded, Exception):
            raise self.decoded
        return self.decoded


def test_sound_that_unpacks_to_too_much_is_refused_and_does_not_become_silence():
    frames = sound._frames(Packets(), None)
    assert [next(frames), next(frames)] == [b"frame", b"later"]  # what is broken is left out
    with pytest.raises(MemoryError):
        next(frames)


def test_a_file_whose_rest_needs_too_much_memory_does_not_end_early():
    class Cut(Packets):
        def demux(self, _sound):
            yield Packet([b"frame"])
            raise av.error.MemoryError(12, "too large")

    frames = sound._frames(Cut(), None)
    assert next(frames) == b"frame"
    with pytest.raises(MemoryError):
        next(frames)
