"""Topics and their views: what can be watched, by whom, and what is then shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.errors import AppError
from app.lib.ids import parse_id

Authorise = Callable[[Any, UUID], bool]
Render = Callable[[UUID], str]

_NAME = re.compile(r"([a-z][a-z0-9-]{0,40}):([0-9a-f-]{36})/([a-z][a-z0-9-]{0,40})")


@dataclass(frozen=True, slots=True)
class View:
    """How one kind of topic is shown in one place."""

    authorise: Authorise
    render: Render


@dataclass(frozen=True, slots=True)
class Name:
    """One thing that a socket can watch, written `video:<id>/card`."""

    kind: str
    id: UUID
    view: str

    @property
    def topic(self) -> str:
        """Return what changes are published under: `video:<id>`."""
        return f"{self.kind}:{self.id}"

    def __str__(self) -> str:
        return f"{self.topic}/{self.view}"


_views: dict[tuple[str, str], View] = {}


def register(kind: str, view: str, *, authorise: Authorise, render: Render) -> None:
    """Register a view of a kind of topic; a second one of that name replaces the first.

    Args:
        kind: what the topic is about, such as `video`; its topics are `video:<id>`.
        view: the fragment's name, such as `card`.
        authorise: tells whether this person may watch the thing of that id; missing and forbidden are both False
            (or NotFound). Asked when a socket connects, at sign-out and every 30 s.
        render: returns the fragment: one root element with a stable id. It runs in a fresh app context for all
            watchers at once, so it must show nothing personal. NotFound: nothing is sent.
    """
    _views[kind, view] = View(authorise, render)


def parse(text: str) -> Name | None:
    """Return the name written in `text`, or None when it is none or nobody registered such a view."""
    match = _NAME.fullmatch(text)
    identity = parse_id(match[2]) if match else None
    if match is None or identity is None or (match[1], match[3]) not in _views:
        return None
    return Name(match[1], identity, match[3])


def is_allowed(user: Any, name: Name) -> bool:
    """Tell whether `user` may watch `name`."""
    try:
        return _views[name.kind, name.view].authorise(user, name.id)
    except AppError:
        return False


def fragment(name: Name) -> str:
    """Render the fragment of `name` in the current app context.

    Raises:
        NotFound: the thing is gone.
    """
    return _views[name.kind, name.view].render(name.id)
