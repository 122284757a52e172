"""Read caption files (SRT, WebVTT) and cut them into cues that can be read. Pure.

pysubs2 knows the time formats; the blocks are found here, because it folds comments and cue names into the text of
the cue before them and drops what it cannot read, and a person wants to hear which line is wrong.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pysubs2.formats.subrip import SubripFormat
from pysubs2.formats.webvtt import WebVTTFormat

from app.errors import Invalid
from app.lib.words import Word, clean
from app.videos.cues import LINE_CHARACTERS, LINES, LONGEST_SECONDS, Cue, build, spread

MAX_BYTES = 5 * 1024 * 1024
MAX_CUES = 50_000
MAX_CUE_CHARACTERS = 5_000
MAX_ERRORS = 10

_ARROW = "-->"
_VTT_SKIPPED = ("NOTE", "STYLE", "REGION")
# A tag holds no other beginning of a tag and no name begins with a space: else a line of "<v <v <v" takes minutes.
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>|<\d[\d:.]*>|\{\\[^{}]*\}")
_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?\s+([^\s<>][^<>]*)>", re.IGNORECASE)


@dataclass(frozen=True)
class Caption:
    """One block of a caption file. Times in seconds; a start of 0.0 is as good as any."""

    line: int
    start: float
    end: float
    text: str
    speaker: str | None = None


class Malformed(Invalid):
    """A caption file cannot be read; `fields` maps "line 12" to what is wrong there."""

    code = "malformed_captions"

    def __init__(self, errors: dict[str, str]) -> None:
        first = next(iter(errors.items()))
        more = f" ({len(errors) - 1} more like this)" if len(errors) > 1 else ""
        super().__init__(
            f"The captions cannot be used: {first[0]}: {first[1]}{more} Correct the file, or upload without it.", errors
        )


def parse(data: bytes) -> list[Caption]:
    """Read an SRT or WebVTT file, told apart by content.

    Args:
        data: the file's bytes; UTF-8, or UTF-16 with its byte order mark.

    Returns:
        The captions with text, sorted by start.

    Raises:
        Malformed: too large, not text, no captions, or blocks that break the format (up to MAX_ERRORS named by line).
    """
    lines = _lines(data)
    is_vtt = bool(lines) and lines[0].lstrip().startswith("WEBVTT")
    errors: dict[str, str] = {}
    captions: list[Caption] = []
    for number, block in _blocks(lines, skip_header=is_vtt):
        if is_vtt and block[0].split(None, 1)[0].rstrip(":") in _VTT_SKIPPED:
            continue
        found = _caption(number, block, is_vtt=is_vtt)
        if isinstance(found, Caption):
            captions.append(found)
        else:
            errors[f"line {found[0]}"] = found[1]
        if len(errors) >= MAX_ERRORS:
            break
        if len(captions) > MAX_CUES:
            raise Malformed({f"line {number}": f"There are more than {MAX_CUES:,} captions."})
    if errors:
        raise Malformed(errors)
    if not any(caption.text for caption in captions):
        raise Malformed({"line 1": "There is no caption in this file."})
    return sorted((caption for caption in captions if caption.text), key=lambda caption: caption.start)


def plain(raw: str) -> str:
    """Return a caption's text without tags and entities, its lines kept."""
    text = clean(html.unescape(_TAG.sub("", raw)))
    return "\n".join(" ".join(line.split()) for line in text.split("\n") if line.strip())


def to_cues(captions: Sequence[Caption]) -> list[Cue]:
    """Cut captions into cues within the limits; one that keeps them already stays as it is, line breaks included."""
    cues: list[Cue] = []
    for caption in captions:
        words = spread(caption.text, caption.start, caption.end)
        if not words:
            continue
        cues.extend([_kept(caption, words)] if _is_readable(caption) else _recut(caption, words))
    return cues


def _is_readable(caption: Caption) -> bool:
    lines = caption.text.split("\n")
    return (
        len(lines) <= LINES
        and all(len(line) <= LINE_CHARACTERS for line in lines)
        and caption.end - caption.start <= LONGEST_SECONDS
    )


def _kept(caption: Caption, words: list[Word]) -> Cue:
    return Cue(caption.start, caption.end, caption.text, tuple(words), caption.speaker)


def _recut(caption: Caption, words: list[Word]) -> list[Cue]:
    cues = build(words, caption.speaker)
    last = cues[-1]
    cues[-1] = replace(last, end=min(caption.end, last.start + LONGEST_SECONDS))
    return cues


def _lines(data: bytes) -> list[str]:
    if len(data) > MAX_BYTES:
        raise Malformed({"line 1": f"The file is larger than {MAX_BYTES // 1024**2} MB, too large for captions."})
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise Malformed({f"line {line}": "This is not UTF-8 text. Save the file as UTF-8."}) from None
    if "\0" in text:
        raise Malformed({f"line {text[: text.index(chr(0))].count(chr(10)) + 1}": "This is not a text file."})
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _blocks(lines: list[str], *, skip_header: bool) -> Iterator[tuple[int, list[str]]]:
    block: list[str] = []
    begins = 0
    is_header = skip_header
    for number, line in enumerate([*lines, ""], 1):
        if line.strip():
            begins = begins or number
            block.append(line)
        elif block:
            if not is_header:
                yield begins, block
            elif any(
                _ARROW in each for each in block[1:]
            ):  # no empty line after "WEBVTT": the first caption follows it
                yield begins + 1, block[1:]
            block, begins, is_header = [], 0, False


def _caption(number: int, block: list[str], *, is_vtt: bool) -> Caption | tuple[int, str]:
    """Read one block, or return the line that is wrong and what is wrong with it."""
    at = next((index for index, line in enumerate(block[:2]) if _ARROW in line), None)
    if at is None:
        example = "00:00:01.000 --> 00:00:04.000" if is_vtt else "00:00:01,000 --> 00:00:04,000"
        wanted = 1 if len(block) > 1 and block[0].strip().isdigit() else 0
        return number + wanted, f"A time like {example} was expected, not {_shorten(block[wanted])}."
    times = _times(block[at], is_vtt=is_vtt)
    if isinstance(times, str):
        return number + at, times
    start, end = times
    rest = block[at + 1 :]
    for offset, line in enumerate(rest, at + 1):
        if _ARROW in line:
            return number + offset, "A second time inside one caption; an empty line is missing before it."
    raw = "\n".join(rest)
    if len(raw) > MAX_CUE_CHARACTERS:
        return number + at + 1, f"One caption is longer than {MAX_CUE_CHARACTERS:,} characters."
    voice = _VOICE.search(raw) if is_vtt else None
    return Caption(number + at, start, end, plain(raw), clean(voice.group(1)).strip()[:100] if voice else None)


def _times(line: str, *, is_vtt: bool) -> tuple[float, float] | str:
    kind = WebVTTFormat if is_vtt else SubripFormat
    left, _, right = line.partition(_ARROW)
    start = _seconds(kind, kind.TIMESTAMP.fullmatch(left.strip()))
    end = _seconds(kind, kind.TIMESTAMP.match(right.strip()))
    if start is None or end is None:
        wrong = left if start is None else right
        return f"{_shorten(wrong)} is not a time like {'00:01.000' if is_vtt else '00:00:01,000'}."
    if end < start:
        return "This caption ends before it starts."
    return start, end


def _seconds(kind: type[SubripFormat | WebVTTFormat], found: re.Match[str] | None) -> float | None:
    try:
        return kind.timestamp_to_ms(found.groups()) / 1000 if found else None
    except ValueError:  # pysubs2's pattern lets a colon stand for the hours, which are no number then
        return None


def _shorten(text: str) -> str:
    text = text.strip()
    return f"“{text[:40]}…”" if len(text) > 40 else f"“{text}”"  # noqa: PLR2004
