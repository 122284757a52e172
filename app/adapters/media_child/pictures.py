"""Make the poster: one frame from a tenth into the video, or the cover of a recording."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from av.video.frame import VideoFrame

from . import decoding
from .opening import open_media
from .probing import check_pixels, find_picture

WIDTH = 640
TRIED_FRAMES, TRIED_PACKETS = 30, 2_000
DARK = 16  # mean brightness (of 255) under which a frame is taken for a fade from black


def poster(path: str, out: str) -> bool:
    """Write a JPEG, 640 wide, to `out`; False when there is no picture in the file.

    Raises:
        MediaError: `unpacks-too-large`: a picture is far larger than the file said at its beginning.
    """
    frame = _find_frame(path)
    if frame is None:
        return False
    _write(_upright(frame), out)
    return True


def _find_frame(path: str) -> VideoFrame | None:
    with open_media(path) as container:
        stream = find_picture(container) or next(iter(container.streams.video), None)
        if stream is None:
            return None
        stream.thread_type = "NONE"  # closing while decoding threads are at work hung once in some seventy films
        if container.duration and container.duration > 0:
            try:
                container.seek(container.duration // 10)
            except av.FFmpegError:
                container.seek(0)
        best = None
        for count, frame in enumerate(decoding.frames(container, stream, TRIED_PACKETS)):
            check_pixels(frame.width, frame.height)
            best = frame
            if count >= TRIED_FRAMES or _brightness(frame) > DARK:
                break
        return best


def _brightness(frame: VideoFrame) -> float:
    return float(frame.reformat(width=32, height=32, format="gray").to_ndarray().mean())


def _upright(frame: VideoFrame) -> VideoFrame:
    """Turn the frame as its rotation says (telephones film lying down and write how to turn it)."""
    turns = round(frame.rotation / 90) % 4
    width, height = (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)
    scaled_height = max(2, min(WIDTH * 4, round(height * WIDTH / width / 2) * 2))
    if not turns:
        return frame.reformat(width=WIDTH, height=scaled_height, format="yuvj420p")
    pixels = np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns)).astype(np.uint8)
    return VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
        width=WIDTH, height=scaled_height, format="yuvj420p"
    )


def _write(frame: VideoFrame, out: str) -> None:
    with av.open(out, "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuvj420p"
        frame.pts, frame.time_base = 0, Fraction(1, 1)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
