"""Signing in by mail: a link and a six-digit code, of which the database keeps only hashes.

See docs/decisions/0010-sign-in.md for what each rule defends against.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from app.accounts.models import SignInToken, User
from app.accounts.service.people import find_or_make_person, may_sign_up
from app.db import db, separately
from app.lib.clock import now
from app.lib.ids import new_id
from app.lib.paths import own_path
from app.lib.signing import fingerprint, keyed_fingerprint, new_secret
from app.web import settings

LIVES = timedelta(minutes=15)
PRINTED_LIVES = timedelta(hours=1)  # the printed link waits in a terminal, not in a mailbox
REMEMBERED = timedelta(days=2)  # rows are kept this long to count wrong codes
TRIES = 5  # codes for one mail
WRONG_CODES_A_DAY = 25  # for one address, whatever the number of mails; the link goes on working


@dataclass(frozen=True)
class StartedSignIn:
    """What the mail will say; `is_welcome` false: nobody is to be written to, which nobody may notice."""

    id: str
    email: str
    link_token: str = field(repr=False)
    code: str = field(repr=False)
    is_welcome: bool


@dataclass(frozen=True)
class SignedIn:
    """Whom a link or code signed in and where they wanted to go (a path of our own, or empty)."""

    user: User
    next_path: str


def start_sign_in(email: str, *, browser: str, next_path: str = "") -> StartedSignIn:
    """Make a link and a code for a normalised address, asked for by the browser that holds `browser`.

    The same statements run for every address, so neither answer nor timing tells whether it has an account.
    """
    db.session.execute(sa.delete(SignInToken).where(SignInToken.created_at < now() - REMEMBERED))
    known = db.session.scalars(sa.select(User).where(User.email == email)).first()
    may_come = may_sign_up(email)
    link_token, code = new_secret(), f"{secrets.randbelow(1_000_000):06d}"
    token = SignInToken(
        id=new_id(),
        email=email,
        token_hash=fingerprint(link_token),
        code_hash=_code_hash(browser, email, code),
        browser_hash=fingerprint(browser),
        next_path=own_path(next_path) or "",
        expires_at=now() + LIVES,
    )
    db.session.add(token)
    db.session.flush()
    is_welcome = not known.is_disabled if known else may_come
    return StartedSignIn(str(token.id), email, link_token, code, is_welcome)


def administrator_link(base_url: str | None = None) -> str:
    """Return a one-time sign-in link for the administrator, whose account is made if needed.

    The account is that of the first of ADMIN_EMAILS, else admin@localhost. The link works once, in any
    browser, within an hour. The caller commits.
    """
    emails = settings().admin_emails
    user = find_or_make_person(emails[0] if emails else "admin@localhost")
    user.is_admin, user.is_disabled = True, False
    link_token = new_secret()
    db.session.add(SignInToken(email=user.email, token_hash=fingerprint(link_token), expires_at=now() + PRINTED_LIVES))
    db.session.flush()
    return f"{(base_url or settings().public_url).rstrip('/')}/sign-in/link/{link_token}"


def consume_link(link_token: str) -> SignedIn | None:
    """Use up a link; of any number of simultaneous callers exactly one gets an answer.

    Returns None for an unknown, used or old link, and for somebody who may not come in (any more).
    """
    return _consume(SignInToken.token_hash == fingerprint(link_token))


def consume_code(code: str, *, email: str, browser: str) -> SignedIn | None:
    """Use up a code in the browser that asked for it.

    A try is taken before the code is looked at, in a transaction of its own that outlives a refusal: however
    many guesses come at once, five reach the comparison.
    """
    code = "".join(character for character in code if character.isdigit())
    with separately() as session:
        tried = list(
            session.scalars(
                sa.update(SignInToken)
                .where(
                    SignInToken.browser_hash == fingerprint(browser),
                    SignInToken.email == email,
                    SignInToken.tries < TRIES,
                    _is_live(now()),
                    _wrong_codes_today(email) < WRONG_CODES_A_DAY,
                )
                .values(tries=SignInToken.tries + 1)
                .returning(SignInToken.id)
            )
        )
    return _consume(SignInToken.id.in_(tried), SignInToken.code_hash == _code_hash(browser, email, code))


def _consume(*conditions: sa.ColumnElement[bool]) -> SignedIn | None:
    moment = now()
    row = db.session.execute(
        sa.update(SignInToken)
        .where(*conditions, _is_live(moment))
        .values(used_at=moment)
        .returning(SignInToken.email, SignInToken.next_path)
    ).first()
    if row is None:
        return None
    known = db.session.scalars(sa.select(User).where(User.email == row.email)).first()
    if known.is_disabled if known else not may_sign_up(row.email):
        return None
    return SignedIn(find_or_make_person(row.email), row.next_path)


def _is_live(moment: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(SignInToken.used_at.is_(None), SignInToken.expires_at > moment)


def _wrong_codes_today(email: str) -> sa.ScalarSelect[int]:
    earlier = aliased(SignInToken)
    return (
        sa.select(sa.func.coalesce(sa.func.sum(earlier.tries), 0))
        .where(earlier.email == email, earlier.used_at.is_(None), earlier.created_at > now() - timedelta(days=1))
        .scalar_subquery()
    )


def _code_hash(browser: str, email: str, code: str) -> str:
    # Keyed with the secret: a million codes are soon hashed by whoever reads the table.
    return keyed_fingerprint(settings().secret_key, "sign-in code", browser, email, code)
