"""Who may open a socket, and what they may watch: asked at the handshake and again while it is open."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from flask import Request, session
from flask_login import current_user
from flask_wtf.csrf import generate_csrf

from app import log
from app.errors import AppError, Forbidden, Invalid, NotFound, Unauthenticated
from app.live.connection import Connection, Visitor
from app.live.topics import Name, is_allowed, parse
from app.web import Throughline

logger = log.get(__name__)

MAX_TOPICS = 60
SIGNING_IN = ("Cookie", "Authorization", "User-Agent")


def check_origin(request: Request, public_url: str) -> None:
    """Refuse a handshake that another site's page began.

    Browsers send the cookies along with any WebSocket handshake and let any page read the answers.

    Raises:
        Forbidden: the Origin is missing or not ours.
    """
    public = urlsplit(public_url)
    ours = {f"{public.scheme}://{public.netloc}".lower(), f"{request.scheme}://{request.host}".lower()}
    if request.headers.get("Origin", "").lower() not in ours:
        raise Forbidden("Live updates work only in pages of this site.")


def choose(text: str) -> tuple[Name, ...]:
    """Return which of the comma-separated names in `text` the current user may watch.

    Raises:
        Invalid: too many names.
        NotFound: none is left; unknown and forbidden look alike.
    """
    texts = dict.fromkeys(part for part in text.split(",") if part)
    if len(texts) > MAX_TOPICS:
        raise Invalid(f"A page can watch at most {MAX_TOPICS} things at once.")
    names = tuple(name for name in map(parse, texts) if name and is_allowed(current_user, name))
    if not names:
        raise NotFound
    return names


def visitor(request: Request) -> Visitor:
    """Return who makes this handshake.

    Raises:
        Unauthenticated: nobody is signed in.
    """
    if not current_user.is_authenticated:
        raise Unauthenticated
    kept = tuple((name, request.headers.get(name, "")) for name in SIGNING_IN if name in request.headers)
    # Without a token in the session a new one would be lost: this answer can set no cookie.
    token = generate_csrf() if "csrf_token" in session else ""
    return Visitor(current_user.id, kept, request.remote_addr or "", token)


def check_again(
    app: Throughline, connections: Iterable[Connection]
) -> Iterator[tuple[Connection, frozenset[Name] | None]]:
    """Yield what each of `connections` may still watch; None when its person is no longer signed in.

    What cannot be asked now (the database is away) is left as it is until the next time.
    """
    people: dict[Visitor, Any] = {}
    answers: dict[tuple[Any, Name], bool] = {}
    for connection in connections:
        try:
            yield connection, _allowed(app, connection, people, answers)
        except Exception:  # a wall like the request's: one failure must not end the watch over the others
            logger.exception("live.check_failed")


def _allowed(
    app: Throughline, connection: Connection, people: dict[Visitor, Any], answers: dict[tuple[Any, Name], bool]
) -> frozenset[Name] | None:
    visitor = connection.visitor
    with app.test_request_context(
        "/live",
        base_url=app.settings.public_url,
        headers=list(visitor.headers),
        environ_base={"REMOTE_ADDR": visitor.address},
    ):
        if visitor not in people:
            people[visitor] = _who(app)
        user = people[visitor]
        if user is None:
            return None
        names = tuple(connection.names)  # a browser may go, and take its names along, while the rooms are asked
        for name in names:
            if (user.id, name) not in answers:
                answers[user.id, name] = is_allowed(user, name)
    return frozenset(name for name in names if answers[user.id, name])


def _who(app: Throughline) -> Any:
    """Return the person whom the request at hand signs in, by the same way every request goes, or None."""
    try:
        app.preprocess_request()
    except AppError:
        return None
    return current_user._get_current_object() if current_user.is_authenticated else None  # noqa: SLF001
