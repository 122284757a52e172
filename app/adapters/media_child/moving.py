"""Decode moving pictures in constant memory: upright frames of one size with square pixels, and when each is shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from av.container import InputContainer
from av.filter import Graph
from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from . import decoding
from .opening import open_media
from .probing import check_pixels, find_picture, only

SHORT_SIDE, LONG_SIDE = 1080, 3840  # what is larger is made smaller
SMALLEST = 16  # of a side: encoders want one block at least
MOST_FRAMES_A_SECOND = 60
FEWEST_FRAMES_A_SECOND = 1  # a picture that stands still is shown again, so that a jump into it has something to show
TURNED_BACK_SECONDS = 1.0  # a clock that goes back by more was set anew, one that does by less is unsteady
TRIED_PACKETS = 2_000
USUAL_RATE = Fraction(25)
TURNS = {1: "transpose=cclock", 2: "hflip,vflip", 3: "transpose=clock"}  # quarters of a circle, against the clock


@dataclass(frozen=True)
class Look:
    """How the picture is to be shown. Sizes in pixels, upright and even."""

    width: int
    height: int
    turns: int
    rate: Fraction
    color_primaries: int
    color_trc: int
    colorspace: int


def look(path: str) -> Look | None:
    """Decode the first frame of the picture; None when there is none to be shown."""
    with open_media(path) as container:
        stream = _begin(container)
        frame = next(decoding.frames(container, stream, TRIED_PACKETS), None)
        if frame is None:
            return None
        check_pixels(frame.width, frame.height)
        turns = round(frame.rotation / 90) % 4
        width, height = shown_size(frame.width, frame.height, stream.sample_aspect_ratio, turns)
        rate = stream.average_rate or stream.guessed_rate or USUAL_RATE
        return Look(
            width,
            height,
            turns,
            Fraction(rate) if 1 <= rate <= MOST_FRAMES_A_SECOND else USUAL_RATE,
            int(frame.color_primaries),
            int(frame.color_trc),
            int(frame.colorspace),
        )


def shown_size(width: int, height: int, aspect: Fraction | None, turns: int) -> tuple[int, int]:
    """Return the size in which a picture is shown upright with square pixels, at most SHORT_SIDE and LONG_SIDE."""
    wide, high = float(width), float(height)
    if aspect and aspect > 0:
        wide, high = (wide * aspect, high) if aspect >= 1 else (wide, high / float(aspect))
    if turns % 2:
        wide, high = high, wide
    share = min(1.0, SHORT_SIDE / min(wide, high), LONG_SIDE / max(wide, high))
    even = [max(SMALLEST, round(float(side) * share / 2) * 2) for side in (wide, high)]
    return even[0], even[1]


def frames(path: str, found: Look, seconds: float, longest_seconds: float) -> Iterator[tuple[float, VideoFrame]]:
    """Yield `(seconds, frame)`, times from the file's own zero and always later than the one before.

    A frame is shown again while none follows, up to `seconds`. Nothing comes after `longest_seconds`.
    """
    clock, shape, shown = _Clock(float(1 / found.rate)), _Shape(found), None
    with open_media(path) as container:
        for frame in decoding.frames(container, _begin(container)):
            check_pixels(frame.width, frame.height)
            before, at = clock.last, clock.place(frame)
            if at is None:
                continue
            if before is not None and shown is not None:
                yield from _still(shown, before, min(at, longest_seconds))
            if at > longest_seconds:
                return
            shown = shape.of(frame)
            yield at, shown
    if shown is not None and clock.last is not None:
        yield from _still(shown, clock.last, min(seconds, longest_seconds))


def _still(frame: VideoFrame, after: float, before: float) -> Iterator[tuple[float, VideoFrame]]:
    at = after + 1 / FEWEST_FRAMES_A_SECOND
    while at < before - 0.5 / FEWEST_FRAMES_A_SECOND:
        yield at, frame
        at += 1 / FEWEST_FRAMES_A_SECOND


class _Clock:
    """Tells when frames are shown, also of those whose times are missing, doubled, or set anew in the middle."""

    def __init__(self, step: float) -> None:
        self.last: float | None = None
        self._step, self._shift = step, 0.0

    def place(self, frame: VideoFrame) -> float | None:
        """Return when the frame is shown; None: not at all, it comes too soon after the one before."""
        ticks = frame.pts if frame.pts is not None else frame.dts
        if ticks is None or not frame.time_base:
            at = 0.0 if self.last is None else self.last + self._step
        else:
            at = float(ticks * frame.time_base) + self._shift
        if self.last is None:
            at = max(at, 0.0)
        elif at < self.last - TURNED_BACK_SECONDS:
            self._shift += self.last + self._step - at
            at = self.last + self._step
        elif at < self.last + 0.75 / MOST_FRAMES_A_SECOND:
            return None
        self.last = at
        return at


class _Shape:
    """Brings frames to the size and the side up in which they are shown."""

    def __init__(self, found: Look) -> None:
        self._found = found
        is_lying = bool(found.turns % 2)
        self._size = (found.height, found.width) if is_lying else (found.width, found.height)
        self._graph = self._turning() if found.turns else None

    def of(self, frame: VideoFrame) -> VideoFrame:
        """Return the frame as it is shown."""
        shaped = frame.reformat(width=self._size[0], height=self._size[1], format="yuv420p", dst_color_range=1)
        if self._graph is None:
            return shaped
        shaped.pts = None
        self._graph.push(shaped)
        turned = self._graph.pull()
        assert isinstance(turned, VideoFrame)  # noqa: S101  (a graph of pictures gives pictures)
        return turned

    def _turning(self) -> Graph:
        graph = Graph()
        last = graph.add_buffer(
            width=self._size[0], height=self._size[1], format=VideoFormat("yuv420p"), time_base=Fraction(1, 25)
        )
        for name, _, arguments in (each.partition("=") for each in TURNS[self._found.turns].split(",")):
            added = graph.add(name, arguments or None)
            last.link_to(added)
            last = added
        last.link_to(graph.add("buffersink"))
        graph.configure()
        return graph


def _begin(container: InputContainer) -> Any:
    stream = find_picture(container)
    assert stream is not None  # noqa: S101  (the caller has found it)
    stream.thread_type = "NONE"  # closing while decoding threads are at work hung once in some seventy films
    only(container, stream)
    return stream
