"""What people ask for of many videos at once, and of the details of one, made safe, or refused with a sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from werkzeug.datastructures import MultiDict

from app.errors import Invalid
from app.lib.ids import parse_id
from app.videos import exports, forms
from app.videos.details import LONGEST_TAG, clean
from app.videos.queries_library import LibraryFilter
from app.videos.service_bulk import MOST_VIDEOS

ACTIONS = ("retry", "cancel", "transcribe", "index", "add-tag", "remove-tag", "delete")
EXPORT = "export"
_COMMA = re.compile("[,\uff0c\u3001]")  # also as Chinese and Japanese write it
TAGGING = ("add-tag", "remove-tag")


@dataclass(frozen=True)
class Bulk:
    """What is to be done to which videos: those named, or with `is_all` those that fit the filter."""

    action: str
    video_ids: list[UUID] = field(default_factory=list)
    is_all: bool = False
    wanted: LibraryFilter = field(default_factory=LibraryFilter)
    tag: str = ""
    formats: list[str] = field(default_factory=list)
    is_forced: bool = False
    is_confirmed: bool = False


def parse_page(given: MultiDict[str, str]) -> Bulk:
    """Read what the library page sends.

    Raises:
        Invalid: an unknown action, nothing chosen, too many, no tag, or a format that there is none of.
    """
    action = _action(given.get("action"), (*ACTIONS, EXPORT))
    is_all = given.get("all", "") == "1"
    return Bulk(
        action,
        [] if is_all else _ids(given.getlist("video_ids")),
        is_all,
        forms.parse_filter({name: given.get(name, "") for name in ("status", "q", "tag", "language", "sort")}),
        _tag(given.get("new_tag", "")) if action in TAGGING else "",
        _formats(given.getlist("formats")) if action == EXPORT else [],
        is_forced=given.get("force", "") == "1",
        is_confirmed=given.get("confirmed", "") == "1",
    )


def parse_json(given: object) -> Bulk:
    """Read `{action, video_ids, tag?, force?}`.

    Raises:
        Invalid: as `parse_page`.
    """
    if not isinstance(given, dict):
        raise Invalid('Send a JSON object such as {"action": "retry", "video_ids": ["..."]}.')
    action, ids = _action(given.get("action"), ACTIONS), given.get("video_ids")
    if not isinstance(ids, list):
        raise Invalid("Name the videos as a list.", {"video_ids": "Send a list of ids."})
    tag = _tag(given.get("tag")) if action in TAGGING else ""
    return Bulk(action, _ids(ids), tag=tag, is_forced=given.get("force") is True, is_confirmed=True)


def parse_details(given: Mapping[str, str]) -> dict[str, Any]:
    """Read the form with the details of one video; its tags stand in one field, with commas between them.

    Raises:
        Invalid: as `forms.parse_changes`.
    """
    sent: dict[str, Any] = {name: value for name, value in given.items() if name not in ("csrf_token", "back")}
    if "tags" in sent:
        sent["tags"] = _COMMA.split(sent["tags"])
    return forms.parse_changes(sent)


def _action(given: object, known: tuple[str, ...]) -> str:
    if not isinstance(given, str) or given not in known:
        raise Invalid("There is no such action.", {"action": f"Use one of {', '.join(known)}."})
    return given


def _ids(given: list[Any]) -> list[UUID]:
    if not given:
        raise Invalid("Select the videos first.", {"video_ids": "Name at least one."})
    if len(given) > MOST_VIDEOS:
        sentence = f"Select at most {MOST_VIDEOS:,} videos at once."
        raise Invalid(sentence, {"video_ids": sentence})
    found = [parse_id(each) if isinstance(each, str) else None for each in given]
    if None in found:
        raise Invalid("One of these is no id of a video. Reload the page and select again.", {"video_ids": "Send ids."})
    return list(dict.fromkeys(each for each in found if each))


def _tag(given: object) -> str:
    tag = clean(given, LONGEST_TAG) if isinstance(given, str) and "," not in given else ""
    if not tag:
        raise Invalid("Write one tag, without a comma.", {"tag": "Write one tag."})
    return tag


def _formats(given: list[str]) -> list[str]:
    known = [name for name in exports.FORMATS if name in given]
    if not known or set(given) - set(known):
        raise Invalid("Choose at least one format.", {"formats": f"Use any of {', '.join(exports.FORMATS)}."})
    return known
