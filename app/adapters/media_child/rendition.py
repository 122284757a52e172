"""Make a copy that browsers play: tracks that they play are copied as they are, the others become H.264 and AAC.

Each track is read by itself and the packets are merged by time, so memory does not grow with the length, however badly
the file mixes its tracks. (The index of an MP4 file does: some 60 bytes for each frame.)

All times count from the zero of the file's own clock, as those of its transcript do: whoever clicks a word hears it.
"""

from __future__ import annotations

import errno
import heapq
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.container import InputContainer, OutputContainer

from . import decoding
from .moving import Look, frames, look
from .opening import MediaError, open_media
from .probing import find_picture, find_sound, only
from .sound import stereo

Packets = Iterator[tuple[float, Any]]  # (seconds, packet)

# What a copied track may be, by the format of the copy; app/videos/playback.py has the whole table and its reasons.
COPIED = {
    "mp4": ({"h264", "vp9", "av1"}, {"aac", "mp3"}),
    "webm": ({"vp8", "vp9", "av1"}, {"opus", "vorbis"}),
}
PLAIN = ("yuv420p", "yuvj420p")
HAVE_TIMES = ("mov", "matroska")  # containers that say when a frame is shown; others are decoded to find out

KEY_SECONDS = 2.0  # a seek decodes at most so much
TICKS = 90_000  # of the picture's clock in a second: frames keep their times, also when these are uneven
SOUND_RATE, SOUND_BITS = 48_000, 128_000
# Sharper than what a talk needs; the ceiling bounds what noise would cost.
PICTURE = {"preset": "veryfast", "crf": "23", "maxrate": "8M", "bufsize": "16M", "forced-idr": "1"}
THREADS = 4
TELL_SECONDS = 0.3
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # these are nobody's way of encoding
TRIED_PACKETS = 50
MISSING_SECONDS = 2.0
MOST_REORDERED = 32


class NotCopied(Exception):
    """A track cannot be copied as it is."""


def make_rendition(
    path: str, out: str, progress: str, duration_seconds: float, longest_seconds: float
) -> dict[str, Any]:
    """Write the copy to `out`; the file `progress` says meanwhile how much of it there is, from 0 to 1.

    Returns:
        `{media_type, extension, size_bytes, width, height}`; the last two are None for sound alone.

    Raises:
        MediaError: `damaged`, `no-audio`, `not-media`, `unpacks-too-large`; see the other modules.
        OSError, av.FFmpegError: with the errno of a full disk, or EFBIG: over the limit for files.
    """
    making = _Making(path, out, progress, duration_seconds, longest_seconds)
    try:
        return making.make(may_copy=True)
    except (NotCopied, av.FFmpegError, ValueError) as error:
        if getattr(error, "errno", None) in NO_ROOM:
            raise
        return making.make(may_copy=False)


class _Making:
    """One rendition under way."""

    def __init__(self, path: str, out: str, progress: str, duration_seconds: float, longest_seconds: float) -> None:
        self.path, self.out, self.progress = path, out, Path(progress)
        self.seconds, self.longest = max(duration_seconds, 0.1), longest_seconds
        self._told_at = 0.0

    def make(self, *, may_copy: bool) -> dict[str, Any]:
        """Write the copy, with every track encoded unless some may be copied."""
        with open_media(self.path) as given:
            picture, sound = find_picture(given), find_sound(given)
            if sound is None and picture is None:
                raise MediaError("damaged")
            form = _webm_or_mp4(given, picture, sound) if may_copy else "mp4"
            copies = [may_copy and _is_copied(given, form, track) for track in (picture, sound)]
            found = look(self.path) if picture is not None and not copies[0] else None
        has_picture = copies[0] or found is not None
        if not has_picture and sound is None:
            raise MediaError("damaged")  # a picture of which no frame can be shown, and no sound
        with self._open(form, has_picture=has_picture) as container:
            tracks = []
            if has_picture:
                tracks.append(self._copied(container, find_picture) if copies[0] else self._picture(container, found))
            if sound is not None:
                tracks.append(self._copied(container, find_sound) if copies[1] else self._sound(container))
            for at, packet in heapq.merge(*tracks, key=lambda timed: timed[0]):
                container.mux(packet)
                self._tell(at)
        return self._answer(form, is_copied=any(copies), has_picture=has_picture)

    def _open(self, form: str, *, has_picture: bool) -> OutputContainer:
        # The index first, so that a player begins, and jumps, without having read to the end.
        options = {"movflags": "+faststart"} if form == "mp4" else {"cues_to_front": "1"}
        name = form if has_picture or form == "webm" else "ipod"
        return av.open(f"file:{self.out}", "w", format=name, container_options=options)

    def _copied(self, container: OutputContainer, find: Any) -> Packets:
        given = open_media(self.path)
        track = find(given)
        copy = container.add_stream_from_template(track)
        only(given, track)
        return self._copies(given, track, copy)

    def _copies(self, given: InputContainer, track: Any, copy: Any) -> Packets:
        last = None
        for packet in _ordered(given.demux(track)):
            if last is not None and packet.dts <= last:
                raise NotCopied("its times go back")
            last = packet.dts
            at = float(packet.dts * packet.time_base)
            if at > self.longest:
                return
            packet.stream = copy
            yield at, packet

    def _picture(self, container: OutputContainer, found: Look | None) -> Packets:
        assert found is not None  # noqa: S101  (it is there wherever a picture is encoded)
        stream = container.add_stream("libx264", rate=found.rate, options=PICTURE)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = found.width, found.height, "yuv420p"
        context.time_base, context.thread_count = Fraction(1, TICKS), THREADS
        context.gop_size = 10_000  # the key frames are set below, by time
        for name in ("color_primaries", "color_trc", "colorspace"):
            setattr(context, name, getattr(found, name))
        return self._pictures(stream, found)

    def _pictures(self, stream: Any, found: Look) -> Packets:
        next_key = 0.0
        for at, frame in frames(self.path, found, self.seconds, self.longest):
            frame.pts, frame.time_base = round(at * TICKS), Fraction(1, TICKS)
            frame.pict_type = 0
            if at >= next_key:
                frame.pict_type, next_key = 1, at + KEY_SECONDS
            yield from _timed(stream.encode(frame))
        yield from _timed(stream.encode(None))

    def _sound(self, container: OutputContainer) -> Packets:
        stream = container.add_stream("aac", rate=SOUND_RATE)
        stream.codec_context.layout, stream.codec_context.format = "stereo", "fltp"
        stream.bit_rate = SOUND_BITS
        return self._sounds(stream)

    def _sounds(self, stream: Any) -> Packets:
        done = 0
        for block in stereo(self.path, SOUND_RATE, self.longest):
            frame = AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, done, Fraction(1, SOUND_RATE)
            done += block.shape[1]
            yield from _timed(stream.encode(frame))
        yield from _timed(stream.encode(None))

    def _tell(self, at: float) -> None:
        now = time.monotonic()
        if now - self._told_at < TELL_SECONDS:
            return
        self._told_at = now
        self.progress.write_text(f"{min(1.0, max(0.0, at / self.seconds)):.4f}", encoding="ascii")

    def _answer(self, form: str, *, is_copied: bool, has_picture: bool) -> dict[str, Any]:
        with av.open(f"file:{self.out}") as made:
            if is_copied:
                self._check(made)
            kind = "video" if has_picture else "audio"
            context = made.streams.video[0].codec_context if has_picture else None
            return {
                "media_type": f"{kind}/{form}",
                "extension": "m4a" if not has_picture and form == "mp4" else form,
                "size_bytes": Path(self.out).stat().st_size,
                "width": context.width if context else None,
                "height": context.height if context else None,
            }

    def _check(self, made: InputContainer) -> None:
        """Refuse a copy that is too short, or of which a track does not begin: what was wrong in it, encoding mends.

        Raises:
            NotCopied: it is.
        """
        if (made.duration or 0) / 1_000_000 < self.seconds - max(MISSING_SECONDS, self.seconds / 20):
            raise NotCopied("it is too short")
        for track in made.streams:
            made.seek(0)
            if next(decoding.frames(made, track, TRIED_PACKETS), None) is None:
                raise NotCopied("it cannot be decoded")


def _webm_or_mp4(given: InputContainer, picture: Any, sound: Any) -> str:
    fits = all(track is None or _is_copied(given, "webm", track) for track in (picture, sound))
    return "webm" if fits else "mp4"


def _is_copied(given: InputContainer, form: str, track: Any) -> bool:
    if track is None or not given.format.name.startswith(HAVE_TIMES):
        return False
    context = track.codec_context
    name = context.codec.canonical_name
    if name in ("h264", "aac") and not context.extradata:
        return False  # its headers stand between the frames, where MP4 has none
    if track.type == "video" and context.pix_fmt not in PLAIN:
        return False
    return name in COPIED[form][0 if track.type == "video" else 1]


def _ordered(packets: Iterator[Any]) -> Iterator[Any]:
    """Give every packet the time by which it is decoded: of films in Matroska the first ones have none.

    Raises:
        NotCopied: it cannot be told.
    """
    waiting: list[Any] = []
    for packet in packets:
        if not packet.size:
            continue
        if packet.pts is None or len(waiting) > MOST_REORDERED:
            raise NotCopied("its times are missing")
        if packet.dts is None:
            waiting.append(packet)
            continue
        for number, early in enumerate(waiting):
            early.dts = packet.dts - (len(waiting) - number) * max(1, early.duration or 1)
            yield early
        waiting = []
        yield packet
    if waiting:
        raise NotCopied("its times are missing")


def _timed(packets: list[Any]) -> Packets:
    for packet in packets:
        yield float(packet.dts * packet.time_base), packet
