"""Signed-in browsers: one row each, so that a person can see and end them."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa

from app import live
from app.accounts.models import User, UserSession
from app.db import db, separately
from app.errors import NotFound
from app.lib.clock import now
from app.lib.signing import fingerprint, new_secret
from app.web import settings


def open_session(user: User, *, network: str = "", user_agent: str = "") -> str:
    """Open a session and return what the cookie remembers: `<user id>.<secret>`.

    The caller commits, in the same transaction as the use of the token that allowed it.
    """
    secret = new_secret()
    db.session.execute(
        sa.delete(UserSession).where(
            UserSession.user_id == user.id,
            UserSession.last_seen_at < now() - timedelta(days=settings().session_days),
        )
    )
    db.session.add(
        UserSession(user_id=user.id, secret_hash=fingerprint(secret), network=network[:60], user_agent=user_agent[:300])
    )
    db.session.flush()
    return f"{user.id}.{secret}"


def note_seen(session_id: UUID) -> None:
    """Remember that a session is in use, which also keeps it alive. Commits in a transaction of its own."""
    with separately() as session:
        session.execute(sa.update(UserSession).where(UserSession.id == session_id).values(last_seen_at=now()))


def close_session(cookie_value: str) -> None:
    """End the session that a cookie names (signing out)."""
    _user, _, secret = cookie_value.partition(".")
    found = db.session.scalar(
        sa.delete(UserSession).where(UserSession.secret_hash == fingerprint(secret)).returning(UserSession.user_id)
    )
    if found:
        live.recheck(found)


def revoke_session(user_id: UUID, session_id: UUID | None) -> None:
    """End one session of a person from another browser.

    Raises:
        NotFound: no such session of this person.
    """
    found = db.session.scalar(
        sa.delete(UserSession)
        .where(UserSession.id == session_id, UserSession.user_id == user_id)
        .returning(UserSession.id)
    )
    if found is None:
        raise NotFound
    live.recheck(user_id)


def close_all_sessions(user_id: UUID) -> None:
    """Sign a person out everywhere."""
    db.session.execute(sa.delete(UserSession).where(UserSession.user_id == user_id))
    live.recheck(user_id)
