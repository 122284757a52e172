"""Media files, read only in a killable child process (app/lib/child.py): they are hostile until proven otherwise.

A decoder that crashes, hangs or swallows memory costs that one file, with a sentence for its owner.
"""

from __future__ import annotations

import contextlib
import errno
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from flask import current_app

from app import log
from app.adapters.storage import FULL, StorageFull
from app.errors import Invalid
from app.lib import child, outside
from app.settings import Settings

logger = log.get(__name__)

CHILD = Path(__file__).with_name("media_child")
SLOWEST_PROBE_BYTES_PER_SECOND = 20_000_000
TOO_LARGE_INSIDE = "unpacks-too-large"
NO_ROOM = "no-room"
# A copy of 1080p takes about as long as it plays on two slow cores, of larger pictures several times that.
COPY_SECONDS, COPY_SECONDS_EACH, COPY_THREADS = 300.0, 4.0, 4
ACCEPTED = "MP4, M4V, MOV, WebM, MKV, AVI, MP3, M4A, WAV, FLAC or OGG"


@dataclass(frozen=True)
class TextTrack:
    """A subtitle track inside a file; codecs other than text ones are listed too."""

    index: int
    language: str
    codec: str
    title: str = ""
    is_text: bool = True  # no pictures of text, and a codec that is known


@dataclass(frozen=True)
class Probe:
    """What a file is, by its content. The duration is measured, in seconds; the hash is SHA-256, hexadecimal."""

    container: str
    media_type: str
    extension: str  # without a dot; fitting the content, not the name it came with
    duration_seconds: float
    size_bytes: int
    content_hash: str
    audio_codec: str
    video_codec: str | None = None
    pixel_format: str | None = None  # how the picture's points are kept, such as yuv420p
    width: int | None = None
    height: int | None = None
    subtitles: tuple[TextTrack, ...] = ()


@dataclass(frozen=True)
class Piece:
    """A stretch of sound as a 16 kHz mono MP3 file; times in seconds from the beginning of the whole file."""

    path: Path
    start_seconds: float
    end_seconds: float
    speech: tuple[tuple[float, float], ...] = ()  # where it is louder than its background; also from the beginning


@dataclass(frozen=True)
class Rendition:
    """A copy that browsers play; the sizes of the picture are None where there is only sound."""

    media_type: str
    extension: str
    size_bytes: int
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True)
class Subtitles:
    """The cues of one text track: (start, end, text), times in seconds."""

    index: int
    language: str
    codec: str
    is_forced: bool = False  # only what the talk itself does not say, such as signs in another language
    cues: tuple[tuple[float, float, str], ...] = ()


class Unusable(Invalid):
    """The file cannot be used, and the message says what to do. Trying again will not help."""

    def __init__(self, code: str, message: str | None = None) -> None:
        sentence = message or SENTENCES.get(code) or SENTENCES["damaged"]
        super().__init__(sentence, {"file": sentence})
        self.code = code


SENTENCES = {
    "empty": "This file is empty. Check that it was saved completely, then upload it again.",
    "not-media": f"This is not a video or sound file that can be read here. Send {ACCEPTED}.",
    "damaged": "This file is damaged and cannot be played. Export or copy it again from where it was made.",
    "no-audio": "This video has no sound, so there is nothing to transcribe. Send a version with its sound track.",
    "zero-seconds": "This file is zero seconds long. Check that it plays on your computer, then upload it again.",
    "cut-short": "This file ends too early: a part of it is missing. Copy it again from where it was made.",
    "too-demanding": ("This file needs too much time to be read. Convert it to MP4 (H.264 and AAC) and try again."),
    TOO_LARGE_INSIDE: (
        "This file unpacks to more than can be handled here. "
        "Convert it to MP4 (H.264 and AAC) of a usual size and try again."
    ),
    NO_ROOM: "The copy is larger than the room that is left for it.",
}


class Media(Protocol):
    """What the product asks of media files. Every method may raise `Unusable`, those that write also `StorageFull`."""

    def probe(self, path: Path) -> Probe:
        """Describe the file and prove that its sound can be decoded."""

    def extract_pieces(
        self, path: Path, folder: Path, *, max_seconds: float = 28.0, search_seconds: float = 8.0
    ) -> list[Piece]:
        """Cut the sound at silences into files in `folder` that cover it without gap or overlap."""

    def poster(self, path: Path, out: Path) -> bool:
        """Write a JPEG, 640 wide, to `out`; False when there is no picture."""

    def waveform(self, path: Path, duration_seconds: float) -> list[float]:
        """Return up to 1,000 peaks between 0 and 1, evenly over the file."""

    def subtitles(self, path: Path) -> list[Subtitles]:
        """Return the text tracks that have cues."""

    def make_rendition(
        self, path: Path, out: Path, *, duration_seconds: float, most_bytes: int, tell: Callable[[float], None]
    ) -> Rendition:
        """Write a copy that browsers play to `out`, of at most `most_bytes`.

        `tell` is called a few times a second with how much of it there is, 0 to 1; when it raises, the making ends
        and the error goes on. `Unusable` with the code NO_ROOM: it would be larger. What was written then is left to
        the caller, who also gives a folder of its own: a file about the progress lies beside it.
        """


@dataclass(frozen=True)
class ChildMedia:
    """The real one: PyAV (FFmpeg) in a child process for every call."""

    limits: child.Limits
    longest_seconds: float  # sound after this is not decoded, whatever the file's own times say

    def probe(self, path: Path) -> Probe:
        """See Media. Costs one read of the file for its hash and one for its packets."""
        wall = min(self.limits.wall_seconds, 60 + path.stat().st_size / SLOWEST_PROBE_BYTES_PER_SECOND)
        found = self._call("probing.probe", {"path": str(path)}, wall_seconds=wall)
        tracks = tuple(TextTrack(**track) for track in found.pop("subtitles"))
        return Probe(**found, subtitles=tracks)

    def extract_pieces(
        self, path: Path, folder: Path, *, max_seconds: float = 28.0, search_seconds: float = 8.0
    ) -> list[Piece]:
        """See Media. About 100 times faster than the sound plays; memory does not grow with its length."""
        request = {
            "path": str(path),
            "folder": str(folder),
            "max_seconds": max_seconds,
            "search_seconds": search_seconds,
            "longest_seconds": self.longest_seconds,
        }
        return [
            Piece(
                path=folder / str(piece["name"]),
                start_seconds=piece["start_seconds"],
                end_seconds=piece["end_seconds"],
                speech=tuple((start, end) for start, end in piece["speech"]),
            )
            for piece in self._call("pieces.extract_pieces", request)
        ]

    def poster(self, path: Path, out: Path) -> bool:
        """See Media."""
        return bool(self._call("pictures.poster", {"path": str(path), "out": str(out)}, wall_seconds=60))

    def waveform(self, path: Path, duration_seconds: float) -> list[float]:
        """See Media."""
        request = {"path": str(path), "duration_seconds": duration_seconds}
        return [float(peak) for peak in self._call("sound.waveform", request)]

    def subtitles(self, path: Path) -> list[Subtitles]:
        """See Media."""
        return [
            Subtitles(
                index=track["index"],
                language=track["language"],
                codec=track["codec"],
                is_forced=track["is_forced"],
                cues=tuple((start, end, text) for start, end, text in track["cues"]),
            )
            for track in self._call("texts.subtitles", {"path": str(path)})
        ]

    def make_rendition(
        self, path: Path, out: Path, *, duration_seconds: float, most_bytes: int, tell: Callable[[float], None]
    ) -> Rendition:
        """See Media. Time and room fit the length of the file; memory does not grow with it."""
        progress = out.with_name(f"{out.name}.progress")
        request = {
            "path": str(path),
            "out": str(out),
            "progress": str(progress),
            "duration_seconds": duration_seconds,
            "longest_seconds": min(self.longest_seconds, duration_seconds + 60),
        }
        wall = COPY_SECONDS + COPY_SECONDS_EACH * duration_seconds
        limits = replace(
            self.limits, wall_seconds=wall, cpu_seconds=int(wall * COPY_THREADS), file_bytes=max(1, most_bytes)
        )

        def watch() -> None:
            share = 0.0
            with contextlib.suppress(OSError, ValueError):  # not there yet, or being written
                share = float(progress.read_text(encoding="ascii"))
            tell(share)

        found = self._ask("rendition.make_rendition", request, limits, watch)
        return Rendition(**found)

    def _call(self, function: str, request: dict[str, Any], *, wall_seconds: float = math.inf) -> Any:
        limits = replace(self.limits, wall_seconds=min(wall_seconds, self.limits.wall_seconds))
        return self._ask(function, request, limits)

    def _ask(
        self, function: str, request: dict[str, Any], limits: child.Limits, watch: Callable[[], None] | None = None
    ) -> Any:
        outside.before_outside_call()
        try:
            answer = child.call(CHILD, function, request, limits, watch)
        except child.ChildRaised as error:
            logger.info("media.refused", function=function, kind=error.kind, reason=error.code, detail=error.message)
            if error.code in map(str, FULL):  # the disk's fault, not the file's
                raise StorageFull from error
            if error.code == str(errno.EFBIG):
                raise Unusable(NO_ROOM) from error
            raise Unusable(error.code if error.kind == "MediaError" else "damaged") from error
        except (child.ChildTimeout, child.ChildOutOfMemory) as error:
            code = "too-demanding" if isinstance(error, child.ChildTimeout) else TOO_LARGE_INSIDE
            logger.warning("media.too_demanding", function=function, reason=code, detail=str(error))
            raise Unusable(code) from error
        except child.ChildCrashed as error:
            logger.warning("media.crashed", function=function, detail=str(error))
            raise Unusable("damaged") from error
        if answer.has_network:
            logger.warning("media.child_has_network", hint="This system lets no process leave the network.")
        return answer.value


@dataclass
class FakeMedia:
    """For tests of what surrounds media: answers what it was told, reads no file, and keeps its calls."""

    found: Probe | Unusable
    pieces: list[Piece] = field(default_factory=list)
    tracks: list[Subtitles] = field(default_factory=list)
    rendition: bytes | Unusable = b"a copy"
    calls: list[str] = field(default_factory=list)

    def probe(self, path: Path) -> Probe:
        """Return or raise what was prepared."""
        self._note(f"probe {path.name}")
        if isinstance(self.found, Unusable):
            raise self.found
        return self.found

    def extract_pieces(
        self, path: Path, folder: Path, *, max_seconds: float = 28.0, search_seconds: float = 8.0
    ) -> list[Piece]:
        """Return the prepared pieces."""
        self._note(f"extract_pieces {path.name} to {folder.name}, {max_seconds:g} and {search_seconds:g}")
        return self.pieces

    def poster(self, path: Path, out: Path) -> bool:
        """There is no picture."""
        self._note(f"poster {path.name} to {out.name}")
        return False

    def waveform(self, path: Path, duration_seconds: float) -> list[float]:
        """Silence."""
        self._note(f"waveform {path.name}, {duration_seconds:g}")
        return [0.0]

    def subtitles(self, path: Path) -> list[Subtitles]:
        """Return the prepared tracks."""
        self._note(f"subtitles {path.name}")
        return self.tracks

    def make_rendition(
        self, path: Path, out: Path, *, duration_seconds: float, most_bytes: int, tell: Callable[[float], None]
    ) -> Rendition:
        """Say that half is done, then write or raise what was prepared."""
        self._note(f"make_rendition {path.name}, {duration_seconds:g}")
        tell(0.5)
        if isinstance(self.rendition, Unusable):
            raise self.rendition
        if len(self.rendition) > most_bytes:
            raise Unusable(NO_ROOM)
        out.write_bytes(self.rendition)
        return Rendition("video/mp4", "mp4", len(self.rendition), 320, 180)

    def _note(self, call: str) -> None:
        outside.before_outside_call()
        self.calls.append(call)


def from_settings(settings: Settings) -> Media:
    """Return the real adapter with the limits of the settings."""
    limits = child.Limits(
        wall_seconds=settings.media_timeout_seconds,
        cpu_seconds=settings.media_timeout_seconds,
        memory_bytes=settings.media_memory_bytes,
    )
    return ChildMedia(limits, longest_seconds=settings.max_duration_seconds + 60)


def media() -> Media:
    """Return the media adapter of the current app."""
    found: Media = current_app.extensions["throughline.media"]
    return found
