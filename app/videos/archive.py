"""Transcripts of many videos as one zip, written while it is sent: one transcript at a time is in memory."""

from __future__ import annotations

import io
import re
import unicodedata
import zipfile
from collections.abc import Iterator, Sequence
from uuid import UUID

from app.db import db, end_reading
from app.videos import exports, links
from app.videos import queries_transcript as transcripts
from app.videos.models import Video

LONGEST_NAME = 100  # characters, so that also in bytes it is short enough for every file system

# What no file may be called on Windows, whatever follows the dot.
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


class _Pipe(io.RawIOBase):
    """Where the zip is written to, and taken from before more is written: nothing can be sought in it."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        """Tell that it can be written to."""
        return True

    def write(self, data: object) -> int:
        """Keep a part."""
        part = bytes(data)  # type: ignore[call-overload]
        self._parts.append(part)
        return len(part)

    def take(self) -> bytes:
        """Return what was written since."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


def stream(video_ids: Sequence[UUID], formats: Sequence[str]) -> Iterator[bytes]:
    """Yield a zip of the transcripts of these videos in these formats.

    Whoever calls has made sure whose they are. Videos without a transcript, or deleted meanwhile, are named in a file
    of their own. Nothing is held in the database while a part is sent.
    """
    pipe, names = _Pipe(), Names()
    left_out: list[str] = []
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for video_id in video_ids:
            video = db.session.get(Video, video_id, populate_existing=True)
            if video is None or video.deleted_at is not None or video.transcript_id is None:
                left_out.append(f"{video.title}: it has no transcript yet" if video else "one that was deleted")
                end_reading()
                continue
            for name, text in _files(video, formats, names):
                archive.writestr(name, text)
            end_reading()
            db.session.expunge_all()
            yield pipe.take()
        if left_out:
            archive.writestr(names.take("Left out", "txt"), "\n".join(["These are not in here:", "", *left_out, ""]))
    yield pipe.take()


class Names:
    """The names of the files in one archive: safe on every system, no two the same."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, title: str, extension: str) -> str:
        """Return a name that nobody has yet, also where capitals do not count."""
        name = safe_name(title)
        for number in range(1, len(self._taken) + 2):
            found = f"{name} ({number}).{extension}" if number > 1 else f"{name}.{extension}"
            if found.casefold() not in self._taken:
                break
        self._taken.add(found.casefold())
        return found


def safe_name(title: str) -> str:
    """Return a title as a file may be called: no path, no reserved name, nothing that a system refuses."""
    normal = unicodedata.normalize("NFC", title)
    kept = "".join(" " if _is_refused(letter) else letter for letter in normal)
    name = " ".join(kept.split())[:LONGEST_NAME].encode()[:200].decode(errors="ignore").strip(" .")
    return f"_{name}" if _RESERVED.fullmatch(name) else name or "Untitled"


def _is_refused(letter: str) -> bool:
    return letter in '/\\:*?"<>|' or unicodedata.category(letter)[0] == "C"


def _files(video: Video, formats: Sequence[str], names: Names) -> Iterator[tuple[str, str]]:
    found = transcripts.get_transcript(video)
    lines = transcripts.list_lines(found.id)
    document = exports.Document(video.title, found.language, lines, links.page_url(video))
    for name in formats:
        yield names.take(video.title, name), exports.FORMATS[name].write(document)
