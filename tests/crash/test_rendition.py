"""A copy for browsers is made once, whichever of the processes at it is killed in the middle."""

from __future__ import annotations

import contextlib
import os
import signal
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import psutil
import pytest

from app.adapters.storage import storage
from app.videos import rendering, service_uploads
from tests.crash.processes import wait_until
from tests.crash.product import Sandbox, open_runs, rows, start_worker
from tests.factories import make_user
from tests.videos.talks import SRT, make_video, say_uploaded

pytestmark = [pytest.mark.crash, pytest.mark.enable_socket, pytest.mark.timeout(180)]
SECONDS = 6


@pytest.fixture(scope="module")
def sandbox():
    running = Sandbox()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def noisy_film(tmp_path_factory) -> Path:
    """An AVI that keeps an encoder busy for some seconds."""
    path = tmp_path_factory.mktemp("film") / "talk.avi"
    dice = np.random.default_rng(1)
    pictures = [
        av.VideoFrame.from_ndarray(dice.integers(0, 255, (720, 1280, 3), np.uint8), format="rgb24") for _ in range(8)
    ]
    with av.open(str(path), "w") as out:
        picture, sound = out.add_stream("mjpeg", rate=15), out.add_stream("pcm_s16le", rate=8000)
        picture.width, picture.height, picture.pix_fmt = 1280, 720, "yuvj420p"
        sound.codec_context.layout = "mono"
        for number in range(15 * SECONDS):
            frame = pictures[number % len(pictures)]
            frame.pts, frame.time_base = number, Fraction(1, 15)
            out.mux(picture.encode(frame))
        block = av.AudioFrame.from_ndarray(np.zeros((1, 8000 * SECONDS), np.int16), format="s16", layout="mono")
        block.sample_rate = 8000
        out.mux(sound.encode(block))
    return path


@pytest.fixture
def video(app, noisy_film, tmp_path):
    """The film as Alice's upload leaves it, with captions, so that the copy is most of the work."""
    alice = make_user()
    kind = {"media_type": "video/x-msvideo", "video_codec": "mjpeg", "audio_codec": "pcm_s16le", "container": "avi"}
    made = make_video(alice, tmp_path, source=noisy_film, captions=SRT, duration_seconds=float(SECONDS), **kind)
    rendering.ask(made)
    say_uploaded(made)
    return str(made.id)


def decoders(worker: psutil.Process) -> list[psutil.Process]:
    """Return the processes that decode for a worker: two below it, since isolated runs have processes of their own."""
    return [each for each in worker.children(recursive=True) if is_alive(each, "child_main.py")]


def is_alive(process: psutil.Process, name: str = "") -> bool:
    """Tell whether a process runs; a zombie that nobody has buried yet does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE and name in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


def is_half_done(video_id: str) -> bool:
    for path in service_uploads.folder().glob(f"rendition-{video_id}-*/copy.progress"):
        with contextlib.suppress(OSError, ValueError):  # it is being written
            return 0.05 < float(path.read_text()) < 1
    return False


@pytest.mark.parametrize("victim", ["the worker", "the process of the run"])
def test_one_copy_is_left_and_nothing_else(settings, video, sandbox, victim):
    worker = start_worker(settings, sandbox)
    family = psutil.Process(worker.pid)
    try:
        wait_until(lambda: is_half_done(video), seconds=60)
        decoding = decoders(family)
        assert decoding
        run_process = decoding[0].parent()
        if victim == "the worker":
            os.kill(worker.pid, signal.SIGKILL)
            worker.wait(10)
        else:
            run_process.kill()
        wait_until(lambda: not any(map(is_alive, decoding)), seconds=10)
        if worker.poll() is not None:
            worker = start_worker(settings, sandbox)
        wait_until(lambda: not open_runs(), seconds=90)
    finally:
        worker.terminate()
        worker.wait(30)

    assert rows("SELECT DISTINCT status FROM run") == [{"status": "completed"}]
    found = rows("SELECT * FROM video WHERE id = :id", id=video)[0]
    assert (found["status"], found["rendition_status"], found["rendition_error"]) == ("completed", "ready", None)
    key = found["rendition_key"]
    assert storage().list_keys(key.rpartition("/")[0]) == [(key, found["rendition_bytes"])]
    assert list(service_uploads.folder().glob("rendition-*")) == []
    with storage().get_path(key) as path, av.open(str(path)) as copy:
        assert sum(1 for _ in copy.decode(video=0)) == 15 * SECONDS
