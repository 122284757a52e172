"""Cut the sound of a file at silences into compressed pieces with exact places in time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from .opening import MediaError
from .sound import Samples
from .sound import samples as decode

RATE = 16_000
BIT_RATE = 32_000
WINDOW = RATE // 20  # 50 ms
SHORTEST_TAIL = RATE  # the last piece is never shorter than 1 s (providers refuse tiny files)
LOUDEST_NOISE_DB, QUIETEST_SPEECH_DB, OVER_NOISE_DB = -35.0, -55.0, 10.0
JOIN_SECONDS, PAD_SECONDS = 0.3, 0.1


def extract_pieces(
    path: str, folder: str, max_seconds: float, search_seconds: float, longest_seconds: float
) -> list[dict[str, Any]]:
    """Write `piece-00000.mp3`, ... (16 kHz mono, 32 kb/s) into `folder` and describe them in order.

    Each piece is at most `max_seconds` + 1 s long, cut at the quietest 50 ms of its last `search_seconds`;
    together they cover the file without gap or overlap. At most about two pieces are in memory at once.
    """
    cutter = _Cutter(Path(folder), int(max_seconds * RATE), int(search_seconds * RATE))
    for block in decode(path, RATE, longest_seconds):
        cutter.feed(block)
    cutter.finish()
    if not cutter.pieces:
        raise MediaError("zero-seconds")
    return cutter.pieces


class _Cutter:
    """Collects samples and writes a piece whenever enough are there."""

    def __init__(self, folder: Path, longest: int, search: int) -> None:
        self.folder, self.longest, self.search = folder, longest, search
        self.buffer: list[Samples] = []
        self.held = 0
        self.start = 0  # in samples from the beginning of the file
        self.pieces: list[dict[str, Any]] = []

    def feed(self, block: Samples) -> None:
        self.buffer.append(block)
        self.held += len(block)
        if self.held < self.longest + SHORTEST_TAIL:
            return
        held = np.concatenate(self.buffer)
        self.buffer = []
        while len(held) >= self.longest + SHORTEST_TAIL:
            cut = _quietest(held, self.longest - self.search, self.longest)
            self._write(held[:cut])
            held = held[cut:].copy()
        self.buffer, self.held = [held], len(held)

    def finish(self) -> None:
        if self.held:
            self._write(np.concatenate(self.buffer))

    def _write(self, piece: Samples) -> None:
        name = f"piece-{len(self.pieces):05}.mp3"
        _encode(self.folder / name, piece)
        start = self.start / RATE
        self.start += len(piece)
        self.pieces.append(
            {
                "name": name,
                "start_seconds": round(start, 4),
                "end_seconds": round(self.start / RATE, 4),
                "speech": [[round(start + a, 2), round(start + b, 2)] for a, b in _speech(piece)],
            }
        )


def _quietest(held: Samples, low: int, high: int) -> int:
    """Return the middle of the quietest window between two places; the latest one wins among equals."""
    windows = (high - max(0, low)) // WINDOW
    if windows < 1:
        return high
    first = high - windows * WINDOW
    loudness = _power(held[first:high])
    best = windows - 1 - int(np.argmin(loudness[::-1]))
    return first + best * WINDOW + WINDOW // 2


def _speech(piece: Samples) -> list[tuple[float, float]]:
    """Return where there is more than background noise, in seconds from the piece's start.

    The threshold is 10 dB over the quietest tenth, kept between -55 and -35 dB of full scale; spans closer
    than 0.3 s are joined, each is widened by 0.1 s.
    """
    windows = len(piece) // WINDOW
    if not windows:
        return []
    level = 10 * np.log10(_power(piece[: windows * WINDOW]) + 1e-12)
    threshold = min(max(float(np.percentile(level, 10)) + OVER_NOISE_DB, QUIETEST_SPEECH_DB), LOUDEST_NOISE_DB)
    length, step = len(piece) / RATE, WINDOW / RATE
    spans: list[tuple[float, float]] = []
    for index in np.flatnonzero(level > threshold):
        start, end = max(0.0, index * step - PAD_SECONDS), min(length, (index + 1) * step + PAD_SECONDS)
        if spans and start - spans[-1][1] < JOIN_SECONDS:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans


def _power(samples: Samples) -> Samples:
    """Return the mean square of each window, without a copy of the samples."""
    windows = samples.reshape(-1, WINDOW)
    power: Samples = np.einsum("ij,ij->i", windows, windows) / WINDOW
    return power


def _encode(path: Path, piece: Samples) -> None:
    with av.open(str(path), "w", format="mp3") as out:
        stream = out.add_stream("libmp3lame", rate=RATE)
        stream.bit_rate = BIT_RATE
        stream.codec_context.layout = "mono"
        size = stream.codec_context.frame_size or 576
        for at in range(0, len(piece), size):
            frame = av.AudioFrame.from_ndarray(piece[None, at : at + size], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, at, Fraction(1, RATE)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
