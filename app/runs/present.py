"""What the templates of this room need in words: JSON, durations, links. Pure but for the links."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from flask import url_for

from app.lib.ids import parse_id
from app.ui import has_endpoint

MAX_SHOWN = 4_000  # characters of one JSON value on the page; all of it is one click away

_SUBJECTS = {"video": ("videos.show", "video_id", "the video")}


def pretty(value: Any) -> str:
    """Return `value` as indented JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def shortened(value: Any) -> tuple[str, bool]:
    """Return `value` as indented JSON of at most `MAX_SHOWN` characters, and whether something was cut."""
    text = pretty(value)
    return (text, False) if len(text) <= MAX_SHOWN else (text[:MAX_SHOWN], True)


def precise(seconds: float | None) -> str:
    """Return a duration as a console shows it: "12 ms", "1.24 s", "2 min 5 s", "3 h 20 min"."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 60:  # noqa: PLR2004
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < 3600:  # noqa: PLR2004
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def subject_id(subject: str | None, kind: str) -> UUID | None:
    """Return the id in a subject such as `video:<id>`, if it is of that kind."""
    found, _, text = (subject or "").partition(":")
    return parse_id(text) if found == kind else None


def subject_link(subject: str | None) -> tuple[str, str] | None:
    """Return (words, address) of what a run is about, when there is a page about it."""
    kind, _, text = (subject or "").partition(":")
    identity = parse_id(text)
    if kind not in _SUBJECTS or identity is None:
        return None
    endpoint, name, words = _SUBJECTS[kind]
    values: dict[str, Any] = {name: identity}
    return (words, url_for(endpoint, **values)) if has_endpoint(endpoint) else None
