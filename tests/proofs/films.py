"""A real film of any size, quickly: an MP4 whose last box is filler, which every player skips."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import numpy as np

from tests.videos.media_files import make_media

BLOCK_BYTES = 1 << 20


def make_film(path: Path, size_bytes: int) -> Path:
    """Write four seconds of film and a `free` box of noise, `size_bytes` in all: no two parts of it are alike."""
    make_media(path, options={"movflags": "faststart"})
    left = size_bytes - path.stat().st_size
    noise = np.random.default_rng(7)
    with path.open("ab") as file:
        file.write(struct.pack(">I4s", left, b"free"))
        left -= 8
        while left > 0:
            left -= file.write(noise.bytes(min(BLOCK_BYTES, left)))
    return path


def sha256(path: Path) -> str:
    """Return the file's hash."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
