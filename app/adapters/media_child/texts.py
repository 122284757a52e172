"""Read the text tracks inside a file."""

from __future__ import annotations

import re
from typing import Any

import av
from av.stream import Disposition

from .opening import open_media

CODECS = ("mov_text", "webvtt", "subrip", "text", "ass", "ssa")
MOST_CUES = 50_000
TAGS = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")  # no tag inside a tag: a text of "<<<<" would take minutes


def subtitles(path: str) -> list[dict[str, Any]]:
    """Return every text track: `{index, language, codec, is_forced, cues: [[start, end, text], ...]}`, in seconds.

    Tracks made of pictures are left out, and so are tracks without a single cue.
    """
    with open_media(path) as container:
        tracks = [track for track in container.streams.subtitles if _codec(track) in CODECS]
        cues: dict[int, list[list[Any]]] = {track.index: [] for track in tracks}
        if tracks:
            for packet in container.demux(*tracks):
                _add(cues[packet.stream.index], packet)
        return [
            {
                "index": track.index,
                "language": track.language or "",
                "codec": _codec(track),
                "is_forced": bool(track.disposition & Disposition.forced),
                "cues": cues[track.index],
            }
            for track in tracks
            if cues[track.index]
        ]


def _codec(track: Any) -> str:
    return str(track.codec_context.codec.canonical_name) if track.codec_context is not None else ""


def _add(cues: list[list[Any]], packet: av.packet.Packet[Any]) -> None:
    if packet.pts is None or len(cues) >= MOST_CUES:
        return
    start = float(packet.pts * packet.time_base)
    end = start + float((packet.duration or 0) * packet.time_base)
    text = TAGS.sub("", _text(bytes(packet), _codec(packet.stream))).strip()
    if text and start >= 0:
        cues.append([round(start, 3), round(end, 3), text])


def _text(data: bytes, codec: str) -> str:
    if codec == "mov_text":  # two bytes of length, the text, then boxes about its style
        data = data[2 : 2 + int.from_bytes(data[:2], "big")]
    text = data.decode("utf-8", "replace")
    if codec in ("ass", "ssa"):  # ReadOrder,Layer,Style,Name,MarginL,MarginR,MarginV,Effect,Text
        text = text.split(",", 8)[-1].replace("\\N", "\n").replace("\\n", "\n")
    return text
