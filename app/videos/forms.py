"""What people and programs send, made safe and complete, or refused with a sentence for each field."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from app.errors import Invalid
from app.videos import text_tracks
from app.videos.details import LONGEST_TAG, LONGEST_TITLE, LONGEST_VOCABULARY, MOST_TAGS, Details, clean, is_shown
from app.videos.models import STATUSES
from app.videos.queries_library import ACTIVE, SORTS, LibraryFilter

LONGEST_DESCRIPTION = 10_000
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_METADATA_KEY = re.compile(r"[!-+\--~]+")  # ASCII without space and comma


def parse_filter(args: Mapping[str, str]) -> LibraryFilter:
    """Read the library's filter from a query string.

    Raises:
        Invalid: an unknown status or order.
    """
    status = args.get("status", "").strip()
    if status and status not in (*STATUSES, ACTIVE):
        raise Invalid("There is no such status.", {"status": f"Use one of {', '.join((ACTIVE, *STATUSES))}."})
    sort = args.get("sort", "").strip() or "newest"
    if sort not in SORTS:
        raise Invalid("There is no such order.", {"sort": f"Use one of {', '.join(SORTS)}."})
    return LibraryFilter(
        status=status,
        q=clean(args.get("q", ""), 200),
        tag=clean(args.get("tag", ""), LONGEST_TAG),
        cursor=args.get("cursor", ""),
        language=clean(args.get("language", ""), 20),
        sort=sort,
    )


def parse_details(given: Mapping[str, Any], args: Mapping[str, str]) -> Details:
    """Read title, language, vocabulary and `again` of a new video.

    Raises:
        Invalid: one of them is no text or cannot be used.
    """
    title = given.get("title") or ""
    if not isinstance(title, str):
        raise Invalid("The title must be text.", {"title": "Send text."})
    keep_both = str(given.get("again") or args.get("again") or "") not in ("", "0", "false", "False")
    return Details(
        clean(title, LONGEST_TITLE),
        parse_language(given.get("language")),
        parse_vocabulary(given.get("vocabulary")),
        keep_both=keep_both,
    )


def parse_transcription(given: Mapping[str, Any]) -> dict[str, Any]:
    """Read what a new transcript is to be made of: `text_from` ("sound" when it is left out), language, vocabulary.

    Returns:
        Arguments of `service.transcribe_again`; what is not given stays as it is.

    Raises:
        Invalid: one of them cannot be used.
    """
    text_from, vocabulary = given.get("text_from", text_tracks.SOUND), given.get("vocabulary")
    if not isinstance(text_from, str):
        raise Invalid("Say what the text is taken from.", {"text_from": "Use sound, captions or track:<index>."})
    return {
        "text_from": text_from,
        "language": parse_language(given["language"]) if given.get("language") else "",
        "vocabulary": None if vocabulary is None else parse_vocabulary(vocabulary),
    }


def parse_vocabulary(given: object) -> str:
    """Return names and terms with commas or line ends between them, as one line.

    Raises:
        Invalid: it is no text or too long.
    """
    return clean(_text("vocabulary", given or "", LONGEST_VOCABULARY).replace("\n", ", "), LONGEST_VOCABULARY)


def parse_language(given: object) -> str:
    """Return a language tag such as `en` or `pt-BR`; English when none is given.

    Raises:
        Invalid: it is none.
    """
    if given in (None, ""):
        return "en"
    if not isinstance(given, str) or len(given) > 20 or not _LANGUAGE.fullmatch(given.strip()):  # noqa: PLR2004
        sentence = "Write the language as a short code such as en, de or pt-BR."
        raise Invalid(sentence, {"language": sentence})
    return given.strip()


def parse_changes(given: object) -> dict[str, Any]:
    """Read the changes of a PATCH: any of title, description, language, vocabulary and tags.

    Raises:
        Invalid: no object, an unknown field, or a value that cannot be used.
    """
    if not isinstance(given, dict):
        raise Invalid("Send a JSON object with the fields to change.")
    unknown = set(given) - {"title", "description", "language", "vocabulary", "tags"}
    if unknown:
        raise Invalid(
            "Only title, description, language, vocabulary and tags can be changed.",
            {str(name)[:60]: "This cannot be changed." for name in sorted(unknown, key=str)},
        )
    changes: dict[str, Any] = {}
    for name, most in (("title", LONGEST_TITLE), ("description", LONGEST_DESCRIPTION)):
        if name in given:
            changes[name] = _text(name, given[name], most)
    if "title" in changes and not changes["title"]:
        raise Invalid("A video needs a title.", {"title": "Write a title."})
    if "language" in given:
        changes["language"] = parse_language(given["language"])
    if "vocabulary" in given:
        changes["vocabulary"] = parse_vocabulary(given["vocabulary"])
    if "tags" in given:
        changes["tags"] = _tags(given["tags"])
    return changes


def parse_metadata(header: str) -> dict[str, str]:
    """Read the Upload-Metadata header of tus: `key base64, key base64, ...`.

    Raises:
        Invalid: it is malformed or too long.
    """
    if len(header) > 8192:  # noqa: PLR2004
        raise Invalid("Upload-Metadata is too long; 8192 characters are allowed.")
    found: dict[str, str] = {}
    for part in header.split(","):
        key, _, value = part.strip().partition(" ")
        if not key:
            continue
        try:
            text = base64.b64decode(value.strip(), validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            raise Invalid(f"Upload-Metadata: the value of {key[:60]!r} is not text in base64.") from None
        if not _METADATA_KEY.fullmatch(key) or key in found:
            raise Invalid("Upload-Metadata has a malformed or repeated key.")
        found[key] = text.replace("\x00", "")
    return found


def _text(name: str, given: object, most: int) -> str:
    if not isinstance(given, str):
        raise Invalid(f"The {name} must be text.", {name: "Send text."})
    if len(given) > most:
        raise Invalid(f"The {name} is too long.", {name: f"Use at most {most} characters."})
    if name == "title":
        return clean(given, most)
    return "".join(character for character in given.replace("\r\n", "\n") if is_shown(character)).strip()


def _tags(given: object) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(tag, str) for tag in given):
        raise Invalid("Tags must be a list of texts.", {"tags": 'Send a list such as ["physics", "2026"].'})
    tags = list(dict.fromkeys(tag for each in given if (tag := clean(each, LONGEST_TAG))))
    if len(tags) > MOST_TAGS:
        raise Invalid("That are too many tags.", {"tags": f"Use at most {MOST_TAGS}."})
    return tags
