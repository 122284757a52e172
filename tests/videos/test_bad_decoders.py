"""A decoder that crashes, hangs or swallows memory, at every place where a file is decoded, costs that file only."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from uuid import UUID

import pytest

from app import engine
from app.adapters import media as adapter
from app.adapters.media import SENTENCES, ChildMedia, media
from app.db import db
from app.engine import testing
from app.lib import child
from app.videos.models import Video
from tests.videos.bad_files import flood_behind_a_trickle
from tests.videos.browsing import post_video
from tests.videos.media_files import make_media
from tests.videos.talks import again, files_of_runs, make_video, say_uploaded

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


@contextlib.contextmanager
def broken(app, folder: Path, place: str, deed: str):
    """Put a media child in place that is the real one but for one function."""
    module, _, function = PLACES[place].partition(".")
    shutil.copytree(adapter.CHILD, folder, ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / f"{module}.py").open("a") as code:
        code.write(f"\n\ndef {function}(**_):\n    {DEEDS[deed][0]}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(app.extensions, "throughline.media", TIGHT)
        patch.setattr(adapter, "CHILD", folder)
        if place == "rendition":  # its time fits the length of the file
            patch.setattr(adapter, "COPY_SECONDS", 2.0)
            patch.setattr(adapter, "COPY_SECONDS_EACH", 0.0)
        yield


def upload(browser, path: Path):
    return post_video(browser, path.read_bytes(), path.name)


def found(answer) -> Video:
    return db.session.get(Video, UUID(answer.json["id"]), populate_existing=True)


@pytest.mark.parametrize("deed", DEEDS)
@pytest.mark.parametrize("place", PLACES)
def test_only_that_file_pays_and_the_next_one_is_made(app, alice, mails, models, monkeypatch, tmp_path, place, deed):  # noqa: PLR0917
    sentence = SENTENCES[DEEDS[deed][1]]
    monkeypatch.setitem(app.extensions, "throughline.media", GOOD)
    with broken(app, tmp_path / "broken", place, deed):
        answer = upload(alice, make_media(tmp_path / "talk.mkv"))
        testing.drain(advance=True)
    if (place, deed) == ("poster", "eats memory"):  # whoever plays it would meet the same
        assert (answer.status_code, answer.json["message"]) == (422, sentence)
        assert list(db.session.scalars(db.select(Video))) == []
        assert engine.list_runs() == []
    else:
        assert answer.status_code == 201, answer.text
        _check_what_is_left(alice, mails, found(answer), place, sentence)
        assert files_of_runs(app) == []

    next_one = upload(alice, make_media(tmp_path / "next.mkv", seconds=3))
    assert next_one.status_code == 201, next_one.text
    testing.drain(advance=True)
    made = found(next_one)
    assert (made.status, made.rendition_status) == ("completed", "ready")
    assert made.poster_key
    assert made.waveform


def _check_what_is_left(browser, mails, video: Video, place: str, sentence: str) -> None:
    failed = [run.workflow for run in engine.list_runs() if run.status in {"failed", "dead"}]
    if place == "pieces":
        assert (video.status, video.error_message) == ("failed", sentence)
        assert sentence in browser.get(f"/videos/{video.id}").text
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


@pytest.mark.parametrize(
    ("seconds", "memory_bytes"),
    [(7800, 250 << 20), (125, 2 << 30)],
    ids=["more than there is memory for", "more than any program writes"],
)
def test_a_flood_of_sound_behind_a_trickle_is_refused_and_does_not_become_silence(  # noqa: PLR0917
    app, alice, mails, models, monkeypatch, tmp_path, seconds, memory_bytes
):
    path = flood_behind_a_trickle(tmp_path / "talk.mkv", seconds)
    limits = child.Limits(memory_bytes=memory_bytes)
    monkeypatch.setitem(app.extensions, "throughline.media", ChildMedia(limits, longest_seconds=20_000))
    length = media().probe(path).duration_seconds
    assert length == pytest.approx(15 + seconds, abs=1), "what is tried at the upload is fine"
    video = make_video(alice.user, tmp_path, source=path, duration_seconds=length, video_codec=None)
    say_uploaded(video)
    testing.drain(advance=True)
    assert (again(video).status, again(video).error_message) == ("failed", SENTENCES["unpacks-too-large"])
    assert files_of_runs(app) == []
