"""Real media files, made on the spot with PyAV: tones with pauses over a drawn picture."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

FORMATS = {  # extension: (muxer, sound codec, picture codec or None)
    "mp4": ("mp4", "aac", "libx264"),
    "m4v": ("mp4", "aac", "libx264"),
    "mov": ("mov", "aac", "libx264"),
    "webm": ("webm", "libopus", "libvpx"),
    "mkv": ("matroska", "aac", "libx264"),
    "avi": ("avi", "libmp3lame", "mpeg4"),
    "mp3": ("mp3", "libmp3lame", None),
    "m4a": ("ipod", "aac", None),
    "wav": ("wav", "pcm_s16le", None),
    "flac": ("flac", "flac", None),
    "ogg": ("ogg", "libopus", None),
}
# What each is served as.
KINDS = {
    "mp4": "video/mp4",
    "m4v": "video/mp4",
    "mov": "video/quicktime",
    "webm": "video/webm",
    "mkv": "video/x-matroska",
    "avi": "video/x-msvideo",
    "mp3": "audio/mpeg",
    "m4a": "audio/mp4",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
}
RATE = 48_000


def make_media(path: Path, seconds: float = 4.0, *, sound: bool = True, options: dict[str, str] | None = None) -> Path:
    """Write a file of the format that the path's extension names: one second of tone, half a second of silence, ..."""
    muxer, sound_codec, picture_codec = FORMATS[path.suffix[1:]]
    with av.open(str(path), "w", format=muxer, options=options or {}) as out:
        picture = out.add_stream(picture_codec, rate=10) if picture_codec else None
        if picture is not None:
            picture.width, picture.height, picture.pix_fmt = 160, 120, "yuv420p"
        track = out.add_stream(sound_codec, rate=RATE) if sound else None
        if track is not None:
            track.codec_context.layout = "mono"
        if picture is not None:
            _write_picture(out, picture, seconds)
        if track is not None:
            _write_sound(out, track, tone(seconds))
    return path


def tone(seconds: float) -> np.ndarray:
    """A 440 Hz tone that pauses for the last third of every 1.5 seconds."""
    time = np.arange(int(seconds * RATE)) / RATE
    return (0.5 * np.sin(2 * np.pi * 440 * time) * ((time % 1.5) < 1.0)).astype(np.float32)


def _write_picture(out, stream, seconds: float) -> None:
    for number in range(max(1, int(seconds * 10))):
        pixels = np.full((120, 160, 3), 90, np.uint8)
        pixels[:, : (number * 4) % 160] = (200, 120, 40)
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, 10)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def _write_sound(out, stream, samples: np.ndarray) -> None:
    resampler = av.AudioResampler(
        format=stream.codec_context.format, layout="mono", rate=RATE, frame_size=stream.codec_context.frame_size or 1024
    )
    for at in range(0, len(samples), 4096):
        frame = av.AudioFrame.from_ndarray(samples[None, at : at + 4096], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, at, Fraction(1, RATE)
        for part in resampler.resample(frame):
            out.mux(stream.encode(part))
    for part in resampler.resample(None):
        out.mux(stream.encode(part))
    out.mux(stream.encode(None))
