"""Open a media file so that it can neither reach for other files nor pose as an exotic format."""

from __future__ import annotations

from pathlib import Path

import av
import av.logging
from av.container import InputContainer

# Only demuxers of the accepted formats: playlist formats (hls, concat, ...) would open other files and addresses.
FORMATS = "mov,matroska,avi,mp3,wav,flac,ogg"
MAGIC = (
    (4, b"ftyp"),
    (4, b"moov"),
    (4, b"mdat"),
    (0, b"\x1aE\xdf\xa3"),
    (0, b"RIFF"),
    (0, b"ID3"),
    (0, b"fLaC"),
    (0, b"OggS"),
)

av.logging.set_level(av.logging.PANIC)


class MediaError(Exception):
    """The file cannot be used; `code` says why (the parent has the sentences)."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.code = code


def open_media(path: str) -> InputContainer:
    """Open the file at `path`.

    Raises:
        MediaError: `empty`, `not-media` (the content is no accepted format), `damaged` (it starts like one).
        MemoryError: its headers need more memory than there is.
    """
    if Path(path).stat().st_size == 0:
        raise MediaError("empty")
    try:
        return av.open(f"file:{path}", options={"format_whitelist": FORMATS, "protocol_whitelist": "file"})
    except MemoryError:
        raise
    except (av.FFmpegError, ValueError) as error:
        raise MediaError("damaged" if has_magic(path) else "not-media", str(error)) from error


def head(path: str, size: int = 4096) -> bytes:
    """Return the first bytes of the file."""
    with Path(path).open("rb") as file:
        return file.read(size)


def has_magic(path: str) -> bool:
    """Tell whether the file begins as one of the accepted formats does."""
    start = head(path, 16)
    return any(start[at : at + len(magic)] == magic for at, magic in MAGIC)
