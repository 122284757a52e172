"""API keys: for programs, sent as `Authorization: Bearer KEY`."""

from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa

from app.accounts.models import ApiKey
from app.accounts.service.people import find_or_make_person
from app.db import db, separately
from app.errors import Invalid, NotFound
from app.lib.clock import now
from app.lib.email import normalise_email
from app.lib.ids import new_id
from app.lib.signing import fingerprint, new_secret
from app.lib.text import one_line

MOST_KEYS = 50
SHOWN_CHARACTERS = 9


def create_key(email: str, name: str = "command line") -> str:
    """Make a key for the person with this address, who is made if needed; return it, for the only time.

    Being called is permission enough (the command line, or the person's own page). The caller commits.

    Raises:
        Invalid: not an e-mail address, an empty name, or too many keys.
    """
    address = normalise_email(email)
    if address is None:
        raise Invalid(
            "That is not an e-mail address. Write it like name@example.org.",
            {"email": "Write it like name@example.org."},
        )
    name = one_line(name)[:100]
    if not name:
        raise Invalid("A key needs a name.", {"name": "Say what it is for, so that you know it again."})
    owner = find_or_make_person(address)
    if owner.is_disabled:
        raise Invalid("This account is closed.", {"email": "An administrator can open it again."})
    held = sa.select(sa.func.count()).where(ApiKey.owner_id == owner.id, ApiKey.revoked_at.is_(None))
    if (db.session.scalar(held) or 0) >= MOST_KEYS:
        raise Invalid("There are too many keys.", {"name": f"Revoke some first: {MOST_KEYS} is the most."})
    key = f"tl_{new_secret()}"
    db.session.add(
        ApiKey(id=new_id(), owner_id=owner.id, name=name, prefix=key[:SHOWN_CHARACTERS], key_hash=fingerprint(key))
    )
    db.session.flush()
    return key


def note_used(key_id: UUID) -> None:
    """Remember that a key is in use. Commits in a transaction of its own."""
    with separately() as session:
        session.execute(sa.update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=now()))


def revoke_key(owner_id: UUID, key_id: UUID | None) -> None:
    """Make one of this person's keys worthless.

    Raises:
        NotFound: no such key of this person.
    """
    found = db.session.scalar(
        sa.update(ApiKey)
        .where(ApiKey.id == key_id, ApiKey.owner_id == owner_id)
        .values(revoked_at=sa.func.coalesce(ApiKey.revoked_at, now()))
        .returning(ApiKey.id)
    )
    if found is None:
        raise NotFound
