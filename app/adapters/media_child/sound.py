"""Decode sound in constant memory: a stream of mono samples whose place in time is exact; peaks for the waveform."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.container import InputContainer

from . import decoding
from .opening import MediaError, open_media
from .probing import find_sound, only

Samples = np.ndarray[Any, np.dtype[np.float32]]
GAP_SECONDS = 0.1  # smaller jumps in time are rounding, larger ones a hole that is filled with silence
FILL_SECONDS = 10
# Of one frame: whoever writes sound writes fractions of a second each, FLAC up to 65,535 samples.
LONGEST_FRAME_SECONDS, MOST_FRAME_SAMPLES = 120, 1 << 24


def samples(path: str, rate: int, longest_seconds: float) -> Iterator[Samples]:
    """Yield the sound of the file as mono float32 arrays at `rate`, values between -1 and 1.

    Sample n of the whole stream belongs to second n / rate of the file: a late start and holes in the file's
    own times come out as silence. Packets that cannot be decoded are left out (their time becomes silence).
    Ends after `longest_seconds`.

    Raises:
        MediaError: `no-audio`; `unpacks-too-large`: one frame is far longer than any program writes them.
        MemoryError: a part of it needs more memory than there is.
    """
    for block in _samples(path, rate, longest_seconds, "mono"):
        yield block[0]


def stereo(path: str, rate: int, longest_seconds: float) -> Iterator[Samples]:
    """Yield the same as `samples` on two channels: arrays of two rows, fitted to the time of the file the same."""
    yield from _samples(path, rate, longest_seconds, "stereo")


def _samples(path: str, rate: int, longest_seconds: float, layout: str) -> Iterator[Samples]:
    with open_media(path) as container:
        done, limit = 0, int(longest_seconds * rate)
        for start, block in _blocks(container, rate, layout):
            hole = round(start * rate) - done if start is not None else 0
            if GAP_SECONDS * rate < hole < limit - done:
                for size in _split(hole, FILL_SECONDS * rate):
                    yield np.zeros((len(block), size), np.float32)
                done += hole
            done += block.shape[1]
            yield block
            if done >= limit:
                return


def waveform(path: str, duration_seconds: float, points: int = 1000) -> list[float]:
    """Return up to `points` peaks (0 to 1) evenly over the file."""
    rate = 8000
    width = max(1, int(duration_seconds * rate / points) + 1)
    peaks = np.zeros(points, np.float32)
    at = 0
    for block in samples(path, rate, duration_seconds + 1):
        places = np.minimum((np.arange(at, at + len(block)) // width), points - 1)
        np.maximum.at(peaks, places, np.abs(block))
        at += len(block)
    used = min(points, at // width + 1)
    return [round(float(min(1.0, peak)), 3) for peak in peaks[:used]]


def _blocks(container: InputContainer, rate: int, layout: str) -> Iterator[tuple[float | None, Samples]]:
    sound = find_sound(container)
    if sound is None:
        raise MediaError("no-audio")
    sound.codec_context.thread_type = "AUTO"
    only(container, sound)
    resampler = _resampler(rate, layout)
    for frame in decoding.frames(container, sound):
        _check_length(frame)
        start = float(frame.pts * frame.time_base) if frame.pts is not None and frame.time_base else None
        frame.pts = None  # the resampler would fill holes in its own way
        try:
            parts = resampler.resample(frame)
        except (ValueError, av.FFmpegError):  # the file changes its own layout or rate in the middle
            resampler = _resampler(rate, layout)
            parts = resampler.resample(frame)
        for part in parts:
            yield start, np.asarray(part.to_ndarray(), np.float32)
            start = None
    for part in resampler.resample(None):
        yield None, np.asarray(part.to_ndarray(), np.float32)


def _check_length(frame: AudioFrame) -> None:
    """Refuse what the resampler, when it has not the memory for it, would leave out without a word."""
    if frame.samples > min(LONGEST_FRAME_SECONDS * frame.sample_rate, MOST_FRAME_SAMPLES):
        raise MediaError("unpacks-too-large", f"{frame.samples} samples in one frame")


def _resampler(rate: int, layout: str) -> av.AudioResampler:
    return av.AudioResampler(format="fltp", layout=layout, rate=rate)


def _split(total: int, most: int) -> Iterator[int]:
    while total > 0:
        yield min(total, most)
        total -= most
