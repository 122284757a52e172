"""Reads of the accounts room."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa

from app.accounts.models import NOTICES, ApiKey, Invitation, NoticePreference, SignInToken, User, UserSession
from app.db import db
from app.lib.clock import now
from app.lib.email import normalise_email
from app.lib.ids import parse_id
from app.lib.signing import fingerprint
from app.web import settings


def find_by_session(cookie_value: str) -> User | None:
    """Return the person whom a session cookie names, unless the session was ended or is too old."""
    found = find_session(cookie_value)
    return db.session.get(User, found.user_id) if found else None


def find_session(cookie_value: str) -> UserSession | None:
    """Return the live session that a cookie names; its person is not disabled."""
    user_id, _, secret = cookie_value.partition(".")
    identity = parse_id(user_id)
    if identity is None:
        return None
    oldest = now() - timedelta(days=settings().session_days)
    return db.session.scalar(
        sa.select(UserSession)
        .join(User, User.id == UserSession.user_id)
        .where(
            UserSession.secret_hash == fingerprint(secret),
            UserSession.user_id == identity,
            UserSession.last_seen_at > oldest,
            ~User.is_disabled,
        )
    )


def find_key(key: str) -> ApiKey | None:
    """Return the live API key that was sent; its person is not disabled."""
    return db.session.scalar(
        sa.select(ApiKey)
        .join(User, User.id == ApiKey.owner_id)
        .where(ApiKey.key_hash == fingerprint(key), ApiKey.revoked_at.is_(None), ~User.is_disabled)
    )


def find_user(user_id: UUID) -> User | None:
    """Return a person by id."""
    return db.session.get(User, user_id)


def find_by_email(email: str) -> User | None:
    """Return the person with this address, however its letters are written."""
    address = normalise_email(email)
    return db.session.scalar(sa.select(User).where(User.email == address)) if address else None


def find_live_link(link_token: str) -> SignInToken | None:
    """Return the sign-in that a link stands for, while it can be used; reading uses nothing up."""
    return db.session.scalar(
        sa.select(SignInToken).where(
            SignInToken.token_hash == fingerprint(link_token),
            SignInToken.used_at.is_(None),
            SignInToken.expires_at > now(),
        )
    )


def list_sessions(user_id: UUID) -> Sequence[UserSession]:
    """Return the live sessions of a person, the latest used first."""
    oldest = now() - timedelta(days=settings().session_days)
    return db.session.scalars(
        sa.select(UserSession)
        .where(UserSession.user_id == user_id, UserSession.last_seen_at > oldest)
        .order_by(UserSession.last_seen_at.desc(), UserSession.id.desc())
    ).all()


def list_keys(owner_id: UUID) -> Sequence[ApiKey]:
    """Return the keys of a person that still work, newest first."""
    return db.session.scalars(
        sa.select(ApiKey)
        .where(ApiKey.owner_id == owner_id, ApiKey.revoked_at.is_(None))
        .order_by(ApiKey.created_at.desc(), ApiKey.id.desc())
    ).all()


def list_people(search: str = "", before: UUID | None = None, limit: int = 50) -> Sequence[User]:
    """Return people whose address or name holds `search`, newest first; `before`: those that follow this one."""
    last = db.session.get(User, before) if before else None
    place = sa.tuple_(User.created_at, User.id)
    found = sa.or_(User.email.icontains(search, autoescape=True), User.name.icontains(search, autoescape=True))
    query = sa.select(User).where(found, place < (last.created_at, last.id) if last else sa.true())
    return db.session.scalars(query.order_by(User.created_at.desc(), User.id.desc()).limit(limit)).all()


def list_invitations() -> Sequence[Invitation]:
    """Return the invitations that nobody has used yet, newest first."""
    return db.session.scalars(
        sa.select(Invitation).where(Invitation.accepted_at.is_(None)).order_by(Invitation.created_at.desc())
    ).all()


def last_seen(user_ids: Sequence[UUID]) -> dict[UUID, datetime]:
    """Return when each of these people was last seen in a browser."""
    rows = db.session.execute(
        sa.select(UserSession.user_id, sa.func.max(UserSession.last_seen_at))
        .where(UserSession.user_id.in_(user_ids))
        .group_by(UserSession.user_id)
    )
    return {user_id: seen for user_id, seen in rows}  # noqa: C416  (rows are tuples only at run time)


def wants_notice(user_id: UUID, kind: str) -> bool:
    """Tell whether a person wants this kind of mail ("ready" or "failed"): yes, unless they said no or are gone."""
    chosen = (NoticePreference.user_id == User.id) & (NoticePreference.kind == kind)
    wanted = db.session.scalar(
        sa.select(sa.func.coalesce(NoticePreference.is_wanted, True) & ~User.is_disabled)
        .outerjoin(NoticePreference, chosen)
        .where(User.id == user_id)
    )
    return bool(wanted)


def list_wanted_notices(user_id: UUID) -> set[str]:
    """Return the kinds of notice that a person wants."""
    return {kind for kind in NOTICES if wants_notice(user_id, kind)}
