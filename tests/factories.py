"""`make_*`: rows for tests, made the shortest honest way."""

from __future__ import annotations

from flask.testing import FlaskClient

from app.accounts import service
from app.accounts.models import User
from app.db import db


def make_user(email: str = "alice@example.org", *, is_admin: bool = False) -> User:
    """Make a person."""
    user = User(email=email, name=email.partition("@")[0].title(), is_admin=is_admin)
    db.session.add(user)
    db.session.commit()
    return user


def sign_in(client: FlaskClient, user: User) -> FlaskClient:
    """Sign `user` in on this browser: a real session row, as after using a link."""
    value = service.open_session(user, user_agent="test browser")
    db.session.commit()
    with client.session_transaction() as session:
        session["_user_id"] = value
        session["_fresh"] = True
    return client
