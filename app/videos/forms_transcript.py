"""What people and programs send to change a transcript, made safe and complete, or refused with a sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.errors import Invalid
from app.lib.ids import parse_id
from app.lib.words import clean
from app.videos import details
from app.videos.editing import MOST_CUE_CHARACTERS, Refused
from app.videos.operations import (
    Delete,
    Insert,
    Merge,
    Operation,
    RenameSpeaker,
    Replace,
    SetSpeaker,
    SetText,
    SetTimes,
    Split,
)

MOST_OPERATIONS = 5_000
LONGEST_NOTE = 300
LONGEST_SPEAKER = 100
LONGEST_FIND = 200
MOST_INDEX = 1_000_000
MOST_SECONDS = 1_000_000.0

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Edit:
    """What somebody wants done, and to which version."""

    base_id: UUID
    operations: tuple[Operation, ...]
    note: str = ""


def parse_edit(given: object) -> Edit:
    """Read `{base, operations, note?}`.

    Raises:
        Invalid: it cannot be used; of an operation the message says which one.
    """
    if not isinstance(given, dict):
        raise Invalid('Send JSON like {"base": "...", "operations": [...]}.')
    unknown = set(given) - {"base", "operations", "note", "csrf_token"}
    if unknown:
        raise Invalid(
            "Only base, operations and note can be sent.", {str(name)[:60]: "This is not known." for name in unknown}
        )
    base_id = parse_base(given.get("base"))
    listed = given.get("operations")
    if not isinstance(listed, list) or not listed:
        raise Invalid("Send at least one operation.", {"operations": "Send a list of operations."})
    if len(listed) > MOST_OPERATIONS:
        sentence = f"Send at most {MOST_OPERATIONS:,} operations at once; save what comes first, then the rest."
        raise Invalid(sentence, {"operations": sentence})
    return Edit(
        base_id,
        tuple(_operation(number, each) for number, each in enumerate(listed, 1)),
        parse_note(given.get("note")),
    )


def parse_base(given: object) -> UUID:
    """Read the id of the version that a change was made to.

    Raises:
        Invalid: it is none.
    """
    found = parse_id(given) if isinstance(given, str) else None
    if found is None:
        sentence = "Say which version you have changed: its id, as “base”."
        raise Invalid(sentence, {"base": sentence})
    return found


def parse_note(given: object) -> str:
    """Read a note for the list of versions, as one line.

    Raises:
        Invalid: it is no text.
    """
    if not isinstance(given, str | None):
        raise Invalid("The note must be text.", {"note": "Send text."})
    return details.clean(given or "", LONGEST_NOTE)


def parse_cue(index: int, fields: Mapping[str, str]) -> Edit:
    """Read the form of one cue: `base`, and any of `text`, `speaker`, `start`, `end`.

    Raises:
        Invalid: one of them cannot be used.
    """
    wanted: list[Json] = []
    if "text" in fields:
        wanted.append({"op": "text", "cue": index, "text": fields["text"]})
    if "speaker" in fields:
        wanted.append({"op": "speaker", "cue": index, "speaker": fields["speaker"]})
    if "start" in fields or "end" in fields:
        start, end = (_typed_seconds(fields.get(name, "")) for name in ("start", "end"))
        wanted.append({"op": "times", "cue": index, "start_seconds": start, "end_seconds": end})
    return parse_edit({"base": fields.get("base"), "operations": wanted, "note": fields.get("note")})


def _operation(number: int, given: object) -> Operation:
    if not isinstance(given, dict):
        raise Refused(number, "It is no object.")
    reader = _READERS.get(given["op"]) if isinstance(given.get("op"), str) else None
    if reader is None:
        raise Refused(number, f"“op” is one of {', '.join(_READERS)}.")
    try:
        return reader(given)
    except _Wrong as error:
        raise Refused(number, str(error)) from None


class _Wrong(Exception):
    """What is wrong with a value of an operation."""


def _whole(given: Json, name: str, *, least: int = 0) -> int:
    value = given.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MOST_INDEX:
        raise _Wrong(f"“{name}” must be a whole number, {least} or more.")
    return value


def _seconds(given: Json, name: str) -> float:
    value = given.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= MOST_SECONDS:
        raise _Wrong(f"“{name}” must be a time in seconds, 0 or more.")
    return round(float(value), 3)


def _text(given: Json, name: str, most: int) -> str:
    value = given.get(name)
    if not isinstance(value, str):
        raise _Wrong(f"“{name}” must be text.")
    if len(value) > most:
        raise _Wrong(f"“{name}” has more than {most:,} characters.")
    # Without direction changes and controls; what a person breaks into lines is wrapped anew.
    kept = "".join(character for character in clean(value) if details.is_shown(character))
    line = " ".join(kept.split())
    return line if line.strip(details.JOINERS) else ""


def _speaker(given: Json, name: str) -> str | None:
    return None if given.get(name) is None else _text(given, name, LONGEST_SPEAKER) or None


def _flag(given: Json, name: str) -> bool:
    value = given.get(name, False)
    if not isinstance(value, bool):
        raise _Wrong(f"“{name}” must be true or false.")
    return value


def _read_speaker(given: Json) -> Operation:
    if "speaker" not in given:
        raise _Wrong("“speaker” must be a name or null.")
    through = None if given.get("through") is None else _whole(given, "through")
    return SetSpeaker(_whole(given, "cue"), _speaker(given, "speaker"), through)


def _read_rename(given: Json) -> Operation:
    speaker = _text(given, "speaker", LONGEST_SPEAKER)
    if not speaker:
        raise _Wrong("“speaker” must be the name that is to be changed.")
    if "to" not in given:
        raise _Wrong("“to” must be a name or null.")
    return RenameSpeaker(speaker, _speaker(given, "to"))


def _read_insert(given: Json) -> Operation:
    text = _text(given, "text", MOST_CUE_CHARACTERS)
    times = _seconds(given, "start_seconds"), _seconds(given, "end_seconds")
    return Insert(_whole(given, "cue"), *times, text, _speaker(given, "speaker"))


def _read_replace(given: Json) -> Operation:
    find = _text(given, "find", LONGEST_FIND)
    if not find:
        raise _Wrong("“find” must say what to look for.")
    by = _text(given, "with", LONGEST_FIND)
    return Replace(find, by, match_case=_flag(given, "match_case"), whole_words=_flag(given, "whole_words"))


_READERS: dict[str, Callable[[Json], Operation]] = {
    "text": lambda given: SetText(_whole(given, "cue"), _text(given, "text", MOST_CUE_CHARACTERS)),
    "times": lambda given: SetTimes(
        _whole(given, "cue"), _seconds(given, "start_seconds"), _seconds(given, "end_seconds")
    ),
    "split": lambda given: Split(_whole(given, "cue"), _whole(given, "at", least=1)),
    "merge": lambda given: Merge(_whole(given, "cue")),
    "speaker": _read_speaker,
    "rename_speaker": _read_rename,
    "delete": lambda given: Delete(_whole(given, "cue")),
    "insert": _read_insert,
    "replace": _read_replace,
}


def _typed_seconds(text: str) -> float | None:
    """Read seconds or a clock reading as people type them: "83.5", "1:23.5", "0:01:23,5"."""
    seconds = 0.0
    try:
        for part in text.strip().replace(",", ".").split(":")[-3:]:
            seconds = seconds * 60 + float(part)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) else None
