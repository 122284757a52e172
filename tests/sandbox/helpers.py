"""What tests of the sandbox and of the adapters share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import httpx2
import numpy as np

from app.adapters.speech import audio

SAMPLES = Path(__file__).resolve().parents[2] / "samples"


@dataclass
class Sandbox:
    """A running sandbox."""

    url: str

    def calls(self) -> dict[str, Any]:
        """Return what /__calls says."""
        return httpx2.get(f"{self.url}/__calls").json()

    def reset(self) -> None:
        """Forget all calls."""
        httpx2.delete(f"{self.url}/__calls")


def piece_of(talk: str, start: float, end: float, path: Path) -> Path:
    """Cut a piece of a sample talk: mp3, 16 kHz, mono, 32 kbit/s."""
    samples = audio.decode(str(SAMPLES / f"{talk}.mp4"))[round(start * audio.RATE) : round(end * audio.RATE)]
    write_mp3(samples, path)
    return path


def write_mp3(samples: np.ndarray, path: Path) -> None:
    """Write 16 kHz mono samples as the pipeline does."""
    with av.open(str(path), "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=audio.RATE)
        stream.bit_rate, stream.codec_context.layout = 32_000, "mono"
        size = stream.codec_context.frame_size or 576
        for at in range(0, len(samples), size):
            part = (samples[None, at : at + size] / 32768).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = audio.RATE, at, Fraction(1, audio.RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def words_of(text: str) -> list[str]:
    """Return lower-case words without punctuation."""
    return re.findall(r"[a-z']+", text.lower())


def word_error_rate(script: str, heard: str) -> float:
    """Return substitutions, deletions and insertions for each word of `script`."""
    wanted, found = words_of(script), words_of(heard)
    row = list(range(len(found) + 1))
    for i, a in enumerate(wanted, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(found, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1] / len(wanted)
