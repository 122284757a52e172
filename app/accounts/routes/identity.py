"""Who is asking: a session cookie or an API key, and what pages may demand of them."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from uuid import UUID

from flask import Request, after_this_request, g, has_request_context, request, session
from flask import Response as FlaskResponse
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required
from werkzeug.wrappers import Response

from app.accounts import queries, service
from app.accounts.models import User
from app.accounts.service import keys, sessions
from app.errors import Forbidden, NotFound, Unauthenticated
from app.extensions import login_manager
from app.lib.clock import now
from app.web import bearer_key, settings

# How exact "last seen" and "last used" are; a write for every request would cost more.
SEEN_EVERY = timedelta(minutes=5)
KEY_SEEN_EVERY = timedelta(minutes=1)


def bind() -> None:
    """Tell Flask-Login how to find the person behind a request."""
    login_manager.user_loader(load_by_cookie)
    login_manager.request_loader(load_by_key)
    login_manager.unauthorized_handler(refuse)


def load_by_cookie(cookie_value: str) -> User | None:
    """Return the person of a session cookie.

    A request that carries a key is judged by the key alone: it passes without a form token, so a cookie must
    give it nothing.
    """
    if has_request_context() and bearer_key() is not None:
        return None
    found = queries.find_session(cookie_value)
    if found is None:
        return None
    if has_request_context():
        g.user_session_id = found.id
        if found.last_seen_at < now() - SEEN_EVERY:
            session.modified = True  # the cookie's own days begin anew
            _afterwards(sessions.note_seen, found.id)
    return queries.find_user(found.user_id)


def load_by_key(_request: Request) -> User | None:
    """Return the person of `Authorization: Bearer KEY`."""
    key = bearer_key()
    found = queries.find_key(key) if key else None
    if found is None:
        return None
    if found.last_used_at is None or found.last_used_at < now() - KEY_SEEN_EVERY:
        _afterwards(keys.note_used, found.id)
    return queries.find_user(found.owner_id)


def refuse() -> None:
    """Send nobody in particular to the sign-in page (programs get 401)."""
    raise Unauthenticated


def enter(user: User) -> None:
    """Make this browser the person's: nothing of the session before survives (no fixation)."""
    if "_user_id" in session:
        service.close_session(session["_user_id"])
    session.clear()
    session["_user_id"] = service.open_session(
        user, network=network(), user_agent=request.headers.get("User-Agent", "")
    )
    session["_fresh"] = True
    session.permanent = True


def remember_theme(answer: Response, user: User) -> None:
    """Give this browser the person's choice of colours; the pages read it from a cookie, also when signed out."""
    secure = settings().has_secure_cookies
    if user.theme == "system":
        answer.delete_cookie("theme", samesite="Lax", secure=secure)
    else:
        answer.set_cookie("theme", user.theme, max_age=365 * 86400, samesite="Lax", secure=secure)


def person_required(view: Callable[..., ResponseReturnValue]) -> Callable[..., ResponseReturnValue]:
    """Let in people with a browser session; a key must not make keys or end sessions (403)."""

    @wraps(view)
    def guarded(*args: object, **kwargs: object) -> ResponseReturnValue:
        if "user_session_id" not in g and current_user.is_authenticated:
            raise Forbidden("An API key cannot do this. Sign in with a browser.")
        return view(*args, **kwargs)

    wrapped: Callable[..., ResponseReturnValue] = login_required(guarded)
    return wrapped


def administrator_required(view: Callable[..., ResponseReturnValue]) -> Callable[..., ResponseReturnValue]:
    """Let in administrators with a browser session; for everybody else who is signed in there is nothing (404)."""

    @wraps(view)
    def guarded(*args: object, **kwargs: object) -> ResponseReturnValue:
        if current_user.is_authenticated and not current_user.is_admin:
            raise NotFound
        return view(*args, **kwargs)

    return person_required(guarded)


def _afterwards(note: Callable[[UUID], None], row_id: UUID) -> None:
    """Write a note when the request's own transaction is over: a request must never hold two connections."""

    @after_this_request
    def write(response: FlaskResponse) -> FlaskResponse:
        note(row_id)
        return response


def network() -> str:
    """Return the network that a request comes from: an IPv4 address, or the first 64 bits of an IPv6 one."""
    text = request.remote_addr or ""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text[:60]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
