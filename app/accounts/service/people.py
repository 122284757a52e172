"""People: who may come in, who they are, what they may do."""

from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from app import live
from app.accounts.models import THEMES, Invitation, User
from app.accounts.service.sessions import close_all_sessions
from app.db import db
from app.errors import Conflict, Invalid, NotFound
from app.lib.clock import now
from app.lib.email import normalise_email
from app.lib.ids import new_id
from app.lib.text import one_line
from app.web import settings


def may_sign_up(email: str) -> bool:
    """Tell whether an address without an account may get one (SIGNUP, invitations, ADMIN_EMAILS)."""
    rules = settings()
    if email in rules.admin_emails or rules.signup == "open":
        return True
    if rules.signup == "domains" and email.rpartition("@")[2] in rules.allowed_email_domains:
        return True
    return db.session.scalar(sa.select(Invitation.id).where(Invitation.email == email)) is not None


def find_or_make_person(email: str) -> User:
    """Return the person of a normalised address, made if needed; ADMIN_EMAILS makes them administrator.

    Two requests at once make one person.
    """
    is_admin = email in settings().admin_emails
    db.session.execute(
        insert(User)
        .values(id=new_id(), email=email, name="", is_admin=is_admin, is_disabled=False, created_at=now())
        .on_conflict_do_nothing(index_elements=[User.email])
    )
    user = db.session.scalars(sa.select(User).where(User.email == email)).one()
    if is_admin and not user.is_admin:
        user.is_admin = True
    db.session.execute(
        sa.update(Invitation)
        .where(Invitation.email == email, Invitation.accepted_at.is_(None))
        .values(accepted_at=now())
    )
    return user


def change_profile(user: User, *, name: str, theme: str) -> None:
    """Change what a person calls themselves and how the pages look to them.

    Raises:
        Invalid: a name over 200 characters or an unknown theme.
    """
    name = one_line(name)
    if len(name) > 200:  # noqa: PLR2004  (the column's width)
        raise Invalid("That name is too long.", {"name": "Use at most 200 characters."})
    if theme not in THEMES:
        raise Invalid("Choose one of the themes.", {"theme": "Choose system, light or dark."})
    user.name, user.theme = name, theme


def invite(email: str, invited_by: UUID) -> Invitation:
    """Let an address in; asking twice is asking once.

    Raises:
        Invalid: not an address, or the person is here already.
    """
    address = normalise_email(email)
    if address is None:
        raise Invalid("That is not an e-mail address.", {"email": "Write it like name@example.org."})
    if db.session.scalar(sa.select(User.id).where(User.email == address)):
        raise Invalid("Already here.", {"email": "This person has an account already."})
    db.session.execute(
        insert(Invitation)
        .values(id=new_id(), email=address, invited_by=invited_by, created_at=now())
        .on_conflict_do_nothing(index_elements=[Invitation.email])
    )
    return db.session.scalars(sa.select(Invitation).where(Invitation.email == address)).one()


def withdraw_invitation(invitation_id: UUID | None) -> None:
    """Take an invitation back that was not used yet.

    Raises:
        NotFound: no such invitation, or used by now.
    """
    found = db.session.scalar(
        sa.delete(Invitation)
        .where(Invitation.id == invitation_id, Invitation.accepted_at.is_(None))
        .returning(Invitation.id)
    )
    if found is None:
        raise NotFound


def change_standing(
    user_id: UUID | None, *, by: UUID, is_admin: bool | None = None, is_disabled: bool | None = None
) -> User:
    """Make someone administrator or not, close or open their account; closing signs them out everywhere.

    Raises:
        NotFound: no such person.
        Conflict: it is oneself, or an administrator by setting.
    """
    user = db.session.get(User, user_id, with_for_update=True) if user_id else None
    if user is None:
        raise NotFound
    if user.id == by:
        raise Conflict("You cannot change your own standing. Ask another administrator.")
    if user.email in settings().admin_emails and (is_admin is False or is_disabled):
        raise Conflict("This person is an administrator by the setting ADMIN_EMAILS. Change it there.")
    if is_admin is not None:
        user.is_admin = is_admin
    if is_disabled is not None:
        user.is_disabled = is_disabled
        if is_disabled:
            close_all_sessions(user.id)
    live.recheck(user.id)  # open pages must not go on showing what the person may no longer see
    return user
