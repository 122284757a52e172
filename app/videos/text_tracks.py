"""Which text a transcript is made of: the sound, captions beside the file, or one of the text tracks inside it. Pure.

A choice is written "" (whatever came with the file, else the sound), "sound", "captions" or "track:<index>".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar

import langcodes

from app.adapters.media import TextTrack
from app.videos.details import LANGUAGES, clean

AUTOMATIC, SOUND, CAPTIONS = "", "sound", "captions"
_TRACK = "track:"
_MOST = 30  # films have a dozen; more would be no choice
_LONGEST_TITLE = 60
_NEAR = 10  # in the distances of langcodes: another country or a name of the same language, no other language


class _Track(Protocol):
    @property
    def language(self) -> str: ...
    @property
    def is_forced(self) -> bool: ...


class _Video(Protocol):
    @property
    def captions_key(self) -> str | None: ...
    @property
    def text_tracks(self) -> list[Any]: ...


Track = TypeVar("Track", bound=_Track)


def listed(tracks: Iterable[TextTrack]) -> list[dict[str, Any]]:
    """Return what is kept of the text tracks of a file: `[{index, language, title}]`; pictures of text are left out."""
    found = [track for track in tracks if track.is_text][:_MOST]
    return [
        {"index": track.index, "language": tag_of(track.language), "title": clean(track.title, _LONGEST_TITLE)}
        for track in found
    ]


def tag_of(language: str) -> str:
    """Return a language as files name it ("fre", "fra", "fr-FR") as a short tag ("fr"); "" when it is not known."""
    try:
        tag = langcodes.standardize_tag(language) if language else ""
    except ValueError:  # what is no tag at all
        return ""
    return "" if tag in ("und", "mul", "mis", "zxx") or len(tag) > 20 else tag  # noqa: PLR2004  (the column's length)


def in_order(tracks: Sequence[Track], language: str) -> list[Track]:
    """Return the tracks as they should be tried for a talk in `language`: its own, those of no language, others.

    Tracks that hold only what the talk itself does not say come last among their like.
    """
    return sorted(tracks, key=lambda track: (_rank(tag_of(track.language), language), track.is_forced))


def choices_of(video: _Video) -> list[tuple[str, str]]:
    """Return what may be chosen instead of the sound of a video, as pairs of value and words."""
    beside = [(CAPTIONS, "The caption file that came with it")] if video.captions_key else []
    inside = [
        (f"{_TRACK}{track['index']}", f"Captions inside the file: {name_of(track)}") for track in video.text_tracks
    ]
    return beside + inside


def name_of(track: dict[str, Any]) -> str:
    """Return how a track of `listed` is called: its language and title, or its number."""
    tag, names = track["language"], dict(LANGUAGES)
    language = names.get(tag) or names.get(tag.partition("-")[0]) or tag
    title = track["title"]
    return f"{language} ({title})" if language and title else language or title or f"track {track['index']}"


def index_of(choice: str) -> int | None:
    """Return the index of the chosen track, or None when no track was chosen."""
    number = choice.removeprefix(_TRACK)
    return int(number) if choice.startswith(_TRACK) and number.isascii() and number.isdigit() else None


def _rank(tag: str, language: str) -> int:
    if not tag:
        return 1
    try:
        return 0 if langcodes.tag_distance(language, tag) <= _NEAR else 2
    except ValueError:  # the person's language is any short code
        return 2
