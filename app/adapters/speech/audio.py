"""Sound as numbers: decoding to 16 kHz mono, and where somebody speaks.

Pure computation on a file or an array; heavy libraries are imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.int16]

RATE = 16_000  # samples a second; what the recogniser was trained on
FRAME_SECONDS = 0.02
Span = tuple[float, float]  # start and end in seconds


class UndecodableAudio(Exception):
    """The bytes are no audio that can be decoded."""


def decode(source: str | BinaryIO, *, max_seconds: float = 3 * 3600) -> Samples:
    """Return the first audio track of `source` as 16 kHz mono 16-bit samples.

    Damaged packets in the middle are skipped, as a player does.

    Raises:
        UndecodableAudio: no container that can be read, no audio track, no sound in it, or longer than `max_seconds`.
    """
    import av
    import numpy as np

    parts: list[Samples] = []
    total = 0
    try:
        with av.open(source) as container:
            if not container.streams.audio:
                raise UndecodableAudio("There is no audio track in this file.")
            resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
            for frame in _frames(container):
                for part in resampler.resample(frame):
                    parts.append(part.to_ndarray()[0])
                    total += len(parts[-1])
                if total > max_seconds * RATE:
                    raise UndecodableAudio(f"The audio is longer than {max_seconds / 60:.0f} minutes.")
    except (av.FFmpegError, ValueError) as error:
        raise UndecodableAudio("The file could not be decoded.") from error
    if not total:
        raise UndecodableAudio("There is no sound in this file.")
    samples: Samples = np.concatenate(parts)
    return samples


def _frames(container: Any) -> Any:
    import av

    for packet in container.demux(container.streams.audio[0]):
        try:
            yield from packet.decode()
        except av.InvalidDataError:
            continue
    yield None  # the resampler gives its rest


def speech_spans(samples: Samples, *, pause_seconds: float = 0.25, shortest_seconds: float = 0.08) -> list[Span]:
    """Return where somebody speaks, as (start, end) in seconds, by loudness alone.

    A frame of 20 ms is speech when it is well above the quiet frames of this recording. Shorter silences than
    `pause_seconds` do not divide a span; shorter spans than `shortest_seconds` are clicks and left out.
    """
    loud = _loud_frames(samples)
    spans: list[list[int]] = []
    gap = round(pause_seconds / FRAME_SECONDS)
    for index in loud:
        if spans and index - spans[-1][1] <= gap:
            spans[-1][1] = index + 1
        else:
            spans.append([index, index + 1])
    seconds = len(samples) / RATE
    return [
        (start * FRAME_SECONDS, min(end * FRAME_SECONDS, seconds))
        for start, end in spans
        if (end - start) * FRAME_SECONDS >= shortest_seconds
    ]


def _loud_frames(samples: Samples) -> list[int]:
    import numpy as np

    size = round(FRAME_SECONDS * RATE)
    count = len(samples) // size
    if not count:
        return []
    frames = samples[: count * size].reshape(count, size).astype(np.float32)
    decibels = 20 * np.log10(np.sqrt((frames**2).mean(axis=1)) + 1e-3)
    quiet, loud = np.percentile(decibels, 10), np.percentile(decibels, 95)
    # Between the room's noise and the voice, nearer to the noise; never below what is inaudible (-60 dB of full scale).
    threshold = max(quiet + 0.35 * (loud - quiet), 30.0)
    return [int(i) for i in np.flatnonzero(decibels > threshold)] if loud > threshold else []
