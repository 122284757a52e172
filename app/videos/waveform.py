"""The waveform of a recording as the path of a small drawing. Pure."""

from __future__ import annotations

from collections.abc import Sequence

HEIGHT = 100


def bars(peaks: Sequence[float] | None, count: int) -> str:
    """Return the `d` of an SVG path: `count` upright bars around the middle, each as high as the loudest moment in it.

    Args:
        peaks: between 0 and 1; of silence every bar is a dot. None or empty: no path.
        count: how many bars; the drawing is `3 * count` wide and HEIGHT high.
    """
    if not peaks:
        return ""
    count = min(count, len(peaks))
    loudest = max(*peaks, 0.05)
    parts = []
    for bar in range(count):
        first, last = bar * len(peaks) // count, (bar + 1) * len(peaks) // count
        half = max(1, round(max(peaks[first:last]) / loudest * HEIGHT / 2))
        parts.append(f"M{3 * bar + 1.5:g} {HEIGHT // 2 - half}v{2 * half}")
    return "".join(parts)


def width(peaks: Sequence[float] | None, count: int) -> int:
    """Return how wide the drawing of `bars` is."""
    return 3 * min(count, len(peaks or ()))
