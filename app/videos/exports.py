"""Write a transcript as SRT, WebVTT, plain text, Markdown or JSON. Pure.

SRT and WebVTT are written by hand: pysubs2 takes braces and backslashes in the text for its own tags and drops them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from app.lib.words import ends_sentence, join_words

PARAGRAPH_SECONDS = 2.0  # a pause this long starts a paragraph
PARAGRAPH_CHARACTERS = 600  # a paragraph this long ends with its sentence

_MARKDOWN = re.compile(r"([\\`*_\[\]<>#|~])")


@dataclass(frozen=True)
class Line:
    """One cue as the exports need it; times in seconds, `text` with newlines between its lines."""

    start_seconds: float
    end_seconds: float
    text: str
    speaker: str | None = None
    confidence: float | None = None


@dataclass(frozen=True)
class Chapter:
    """One chapter: when it begins, and its title."""

    start_seconds: float
    title: str


@dataclass(frozen=True)
class Document:
    """A whole transcript; `url` is the address of its page, for links to a moment."""

    title: str
    language: str
    lines: Sequence[Line]
    url: str = ""
    summary: str = ""
    chapters: Sequence[Chapter] = ()


@dataclass(frozen=True)
class Format:
    """One way to write a transcript."""

    name: str
    mimetype: str
    write: Callable[[Document], str]


def clock(seconds: float, decimal: str = ".") -> str:
    """Write seconds as HH:MM:SS.mmm."""
    milliseconds = max(0, round(seconds * 1000))
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d}{decimal}{milliseconds % 1000:03d}"


def short_clock(seconds: float) -> str:
    """Write seconds as M:SS or H:MM:SS, for people."""
    whole = max(0, int(seconds))
    minutes, second = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{second:02d}" if hours else f"{minutes}:{second:02d}"


def srt(document: Document) -> str:
    """Write SubRip."""
    return "".join(
        f"{number}\n{clock(line.start_seconds, ',')} --> {clock(line.end_seconds, ',')}\n"
        f"{f'{line.speaker}: ' if line.speaker else ''}{_body(line.text)}\n\n"
        for number, line in enumerate(document.lines, 1)
    )


def vtt(document: Document) -> str:
    """Write WebVTT, with speakers as voices."""
    blocks = ["WEBVTT\n"]
    for line in document.lines:
        text = _body(line.text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        voice = f"<v {re.sub('[<>&]', '', line.speaker)}>" if line.speaker else ""
        blocks.append(f"{clock(line.start_seconds)} --> {clock(line.end_seconds)}\n{voice}{text}\n")
    return "\n".join(blocks)


def txt(document: Document) -> str:
    """Write paragraphs of plain text, without times."""
    return "\n\n".join(text for _, text in paragraphs(document.lines)) + "\n"


def markdown(document: Document) -> str:
    """Write a title, the summary, and paragraphs under their chapters, each beginning with a link to its moment."""
    parts = [f"# {_MARKDOWN.sub(_ESCAPE, ' '.join(document.title.split()))}"]
    if document.summary:
        parts.append(_MARKDOWN.sub(_ESCAPE, " ".join(document.summary.split())))
    for chapter, lines in _by_chapter(document):
        if chapter is not None:
            parts.append(f"## {_MARKDOWN.sub(_ESCAPE, ' '.join(chapter.title.split()))}")
        for start, text in paragraphs(lines):
            at = short_clock(start)
            link = f"[{at}]({document.url}?t={start:g})" if document.url else f"**{at}**"
            parts.append(f"{link} {_MARKDOWN.sub(_ESCAPE, text)}")
    return "\n\n".join(parts) + "\n"


def chapters_vtt(chapters: Sequence[Chapter], duration_seconds: float) -> str:
    """Write chapters as WebVTT; each lasts until the next one begins."""
    ends = [*(chapter.start_seconds for chapter in chapters[1:]), max(duration_seconds, 0.0)]
    cues = [
        Line(chapter.start_seconds, max(end, chapter.start_seconds + 0.001), chapter.title)
        for chapter, end in zip(chapters, ends, strict=True)
    ]
    return vtt(Document("", "", cues))


def as_json(document: Document) -> str:
    """Write the contract's JSON: language and segments."""
    return json.dumps(to_dict(document), ensure_ascii=False)


def to_dict(document: Document) -> dict[str, Any]:
    """Return `{language, segments[{start_seconds, end_seconds, text, speaker, confidence}]}`."""
    return {
        "language": document.language,
        "segments": [
            {
                "start_seconds": line.start_seconds,
                "end_seconds": line.end_seconds,
                "text": line.text,
                "speaker": line.speaker,
                "confidence": line.confidence,
            }
            for line in document.lines
        ],
    }


def paragraphs(lines: Sequence[Line]) -> list[tuple[float, str]]:
    """Join cues into paragraphs: `(start in seconds, text)`; a new one after a pause, a speaker, or much text."""
    found: list[tuple[float, list[str]]] = []
    before: Line | None = None
    for line in lines:
        text = " ".join(line.text.split())
        if before is None or _starts_paragraph(before, line, found[-1][1]):
            found.append((line.start_seconds, [f"{line.speaker}: {text}" if line.speaker else text]))
        else:
            found[-1][1].append(text)
        before = line
    return [(start, join_words(texts)) for start, texts in found]


def _by_chapter(document: Document) -> list[tuple[Chapter | None, list[Line]]]:
    """Divide the cues among the chapters; a chapter begins with the cue in which it does, those before it have none."""
    found: list[tuple[Chapter | None, list[Line]]] = [(None, [])]
    coming = sorted(document.chapters, key=lambda chapter: chapter.start_seconds)
    ends = [*(line.start_seconds - 0.001 for line in document.lines[1:]), math.inf]
    for line, end in zip(document.lines, ends, strict=False):
        while coming and coming[0].start_seconds < end:
            found.append((coming.pop(0), []))
        found[-1][1].append(line)
    return [(chapter, lines) for chapter, lines in found if lines or chapter is not None]


def _starts_paragraph(before: Line, line: Line, texts: list[str]) -> bool:
    if line.speaker != before.speaker or line.start_seconds - before.end_seconds >= PARAGRAPH_SECONDS:
        return True
    return sum(map(len, texts)) >= PARAGRAPH_CHARACTERS and ends_sentence(before.text)


def _body(text: str) -> str:
    # An empty line would end the cue, an arrow would start another one.
    return "\n".join(line for line in text.replace("-->", "→").split("\n") if line.strip())


_ESCAPE = r"\\\1"

FORMATS: dict[str, Format] = {
    "json": Format("JSON", "application/json", as_json),
    "srt": Format("SRT captions", "application/x-subrip", srt),
    "vtt": Format("WebVTT captions", "text/vtt", vtt),
    "txt": Format("Plain text", "text/plain", txt),
    "md": Format("Markdown", "text/markdown", markdown),
}
