"""From a topic's name to the bytes that go to its sockets."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from flask import g

from app import log
from app.errors import NotFound
from app.live import topics
from app.web import Throughline

logger = log.get(__name__)

# Stands for the form token in a rendering that is shared by all; each socket puts its own session's in its place.
TOKEN = f"live-token-{secrets.token_hex(16)}"

_ROOT_ID = re.compile(r"""<[a-zA-Z][\w-]*(?:\s[^<>]*?)?\sid="([A-Za-z][\w-]*)\"""")


class RenderFailed(Exception):
    """The fragment could not be rendered; trying again may help."""


@dataclass(frozen=True, slots=True)
class Payload:
    """One message: a fragment in its envelope."""

    text: str
    has_token: bool

    def for_session(self, token: str) -> str:
        """Return the message with the form token of one session."""
        return self.text.replace(TOKEN, token) if self.has_token else self.text


def render(app: Throughline, name: topics.Name) -> Payload | None:
    """Render `name` in a fresh context, for nobody in particular; None when there is nothing to show.

    Raises:
        RenderFailed: the room's function failed; logged here.
    """
    try:
        # A request context, because templates make links; it carries no cookie, so nobody is signed in.
        with app.test_request_context("/live", base_url=app.settings.public_url):
            g.csrf_token = TOKEN  # Flask-WTF takes this instead of making one for a session that is not there
            html = topics.fragment(name)
        return wrap(html)
    except NotFound:
        return None
    except Exception as error:  # the render wall: one broken fragment must not stop the others
        logger.exception("live.render_failed", topic=str(name))
        raise RenderFailed from error


def wrap(html: str) -> Payload | None:
    """Put a fragment into the envelope that makes htmx morph the element of the same id.

    outerMorph keeps focus, typed text and scroll; the fragment is stripped, because white space around it would be
    inserted beside the element with every message.

    Raises:
        ValueError: the fragment's first element has no id.
    """
    html = html.strip()
    if not html:
        return None
    root = _ROOT_ID.match(html)
    if root is None:
        raise ValueError("a live fragment begins with its one root element, which has an id")
    text = f'<hx-partial hx-target="#{root[1]}" hx-swap="outerMorph">{html}</hx-partial>'
    return Payload(text, TOKEN in text)
