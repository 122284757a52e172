"""Look at a file's content: what it is, how long, whether its sound can be decoded, and its SHA-256."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from . import decoding, texts
from .opening import MediaError, has_magic, head, open_media

TRIED_PACKETS = 100  # how many packets of sound are decoded to see whether the file is whole
SHORTEST_SECONDS = 0.05
MOST_PIXELS = 8192 * 8192  # twice what 8K has; whatever shows it needs several bytes for each
LARGEST_EMPTY_BYTES = 65_536  # a file with headers only is smaller; a larger one without sound is something else
MISSING_SHARE = 0.95  # less of the announced length than this, and more than 2 s missing: the file was cut off


def probe(path: str) -> dict[str, Any]:
    """Describe the file at `path`; the keys are the fields of `app.adapters.media.Probe`.

    Raises:
        MediaError: `empty`, `not-media`, `damaged`, `no-audio`, `zero-seconds`, `cut-short`, `unpacks-too-large`.
    """
    with open_media(path) as container:
        picture = find_picture(container)
        if not container.streams.audio:
            raise MediaError("no-audio" if picture or container.streams.video else "not-media")
        sound = find_sound(container)
        if sound is None:
            raise MediaError("damaged")
        if picture:
            check_pixels(picture.codec_context.width, picture.codec_context.height)
        duration = _duration(container, path, sound)
        media_type, extension = _kind(container, path, has_picture=picture is not None)
        return {
            "container": container.format.name,
            "media_type": media_type,
            "extension": extension,
            "duration_seconds": round(duration, 3),
            "size_bytes": Path(path).stat().st_size,
            "content_hash": _sha256(path),
            "video_codec": _codec_name(picture) if picture else None,
            "pixel_format": picture.codec_context.pix_fmt if picture else None,
            "audio_codec": _codec_name(sound),
            "width": picture.codec_context.width if picture else None,
            "height": picture.codec_context.height if picture else None,
            "subtitles": [
                {
                    "index": track.index,
                    "language": track.language or "",
                    "codec": _codec_name(track),
                    "title": track.metadata.get("title", "")[:300],
                    "is_text": _codec_name(track) in texts.CODECS,
                }
                for track in container.streams.subtitles
            ],
        }


def find_sound(container: InputContainer) -> AudioStream | None:
    """Return the sound track to use: the one the file marks as default, else its first with a known codec."""
    known = [stream for stream in container.streams.audio if _codec_name(stream)]
    return next((stream for stream in known if stream.disposition & Disposition.default), known[0] if known else None)


def find_picture(container: InputContainer) -> VideoStream | None:
    """Return the moving picture, not an attached cover."""
    return next(
        (
            stream
            for stream in container.streams.video
            if _codec_name(stream) and not stream.disposition & Disposition.attached_pic
        ),
        None,
    )


def check_pixels(width: int, height: int) -> None:
    """Refuse a picture that is larger than any film's.

    Raises:
        MediaError: `unpacks-too-large`.
    """
    if width * height > MOST_PIXELS:
        raise MediaError("unpacks-too-large", f"{width} x {height} pixels")


def only(container: InputContainer, wanted: av.stream.Stream) -> None:
    """Let the demuxer skip every other stream."""
    for stream in container.streams:
        if stream.index != wanted.index:
            stream.discard = Discard.all


def _codec_name(stream: av.stream.Stream) -> str:
    context = getattr(stream, "codec_context", None)
    return str(context.codec.canonical_name) if context is not None else ""


def _duration(container: InputContainer, path: str, sound: AudioStream) -> float:
    """Return the length in seconds, measured over the packets, not believed from the header."""
    announced = container.duration / 1_000_000 if container.duration and container.duration > 0 else 0.0
    only(container, sound)
    end, packets, decoded, tried = 0.0, 0, 0, 0
    try:
        for packet in container.demux(sound):
            if packet.pts is None or not packet.size:
                continue
            packets += 1
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if tried < TRIED_PACKETS:
                tried += 1
                decoded += decoding.decoded(packet) is not None
    except MemoryError:
        raise
    except av.FFmpegError as error:
        if not packets:
            raise MediaError("damaged", str(error)) from error
    if not packets and Path(path).stat().st_size > LARGEST_EMPTY_BYTES:
        raise MediaError("damaged" if has_magic(path) else "not-media")
    _check(packets, tried, decoded, end)
    has_index = container.format.name.startswith(("mov", "matroska", "flac"))
    of_sound = float(sound.duration * sound.time_base) if sound.duration and sound.time_base else 0.0
    expected = of_sound if 0 < of_sound <= announced else 0.0
    if has_index and expected and end < expected * MISSING_SHARE and expected - end > 2:  # noqa: PLR2004
        raise MediaError("cut-short", f"{end:.0f} of {expected:.0f} seconds")
    return max(end, announced) if has_index else end


def _check(packets: int, tried: int, decoded: int, end: float) -> None:
    if packets and decoded * 2 < tried:
        raise MediaError("damaged", f"{tried - decoded} of {tried} packets could not be decoded")
    if not packets or end < SHORTEST_SECONDS:
        raise MediaError("zero-seconds")


def _kind(container: InputContainer, path: str, *, has_picture: bool) -> tuple[str, str]:
    name = container.format.name.partition(",")[0]
    start = head(path)
    if name == "mov":
        if not has_picture:
            return "audio/mp4", "m4a"
        return ("video/quicktime", "mov") if start[8:12] == b"qt  " else ("video/mp4", "mp4")
    if name == "matroska":
        kind = "video" if has_picture else "audio"
        return (f"{kind}/webm", "webm") if b"webm" in start[:64] else (f"{kind}/x-matroska", "mkv")
    if name == "ogg":
        return ("video/ogg", "ogv") if has_picture else ("audio/ogg", "ogg")
    return {
        "avi": ("video/x-msvideo", "avi"),
        "mp3": ("audio/mpeg", "mp3"),
        "wav": ("audio/wav", "wav"),
        "flac": ("audio/flac", "flac"),
    }[name]


def _sha256(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
