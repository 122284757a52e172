"""Tables of people, how they come in, and what they use."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base
from app.lib.clock import now
from app.lib.ids import new_id

THEMES = ("system", "light", "dark")
NOTICES = ("ready", "failed")


def _one_of(column: str, values: tuple[str, ...]) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=column)


def _owner() -> Mapped[UUID]:
    return mapped_column(sa.ForeignKey("user.id", ondelete="CASCADE"))


class User(Base):
    """A person. Their sessions are rows of their own, so signing out everywhere means deleting those."""

    __tablename__ = "user"
    __table_args__ = (_one_of("theme", THEMES),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    email: Mapped[str] = mapped_column(sa.String(320), unique=True)  # lower case, domain in ASCII
    name: Mapped[str] = mapped_column(sa.String(200), default="")
    theme: Mapped[str] = mapped_column(sa.String(10), default="system", server_default="system")
    is_admin: Mapped[bool] = mapped_column(default=False)
    is_disabled: Mapped[bool] = mapped_column(default=False)
    budget_microusd: Mapped[int | None] = mapped_column(sa.BigInteger)  # a month; null: as the settings have it
    storage_quota_bytes: Mapped[int | None] = mapped_column(sa.BigInteger)  # null: as the settings have it
    created_at: Mapped[datetime] = mapped_column(default=now)

    is_authenticated = True
    is_anonymous = False

    @property
    def is_active(self) -> bool:
        """Tell Flask-Login whether this person may be signed in."""
        return not self.is_disabled

    @property
    def display_name(self) -> str:
        """Return the name to greet this person by: their own, or the front of their address."""
        return self.name or self.email.partition("@")[0]

    def get_id(self) -> str:
        """Return the id as text (the session cookie also names the session: `service.open_session`)."""
        return str(self.id)


class SignInToken(Base):
    """One sign-in under way: a link and a six-digit code of which only hashes are kept."""

    __tablename__ = "sign_in_token"
    __table_args__ = (
        # Code entry: the live tokens of one browser.
        sa.Index("ix_sign_in_token_browser", "browser_hash"),
        # Wrong codes of one address in the last day.
        sa.Index("ix_sign_in_token_email_created", "email", "created_at"),
        # Forgetting old ones.
        sa.Index("ix_sign_in_token_created", "created_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    email: Mapped[str] = mapped_column(sa.String(320))
    token_hash: Mapped[str] = mapped_column(sa.String(64), unique=True)
    code_hash: Mapped[str | None] = mapped_column(sa.String(64))  # null: a link only (the printed one)
    browser_hash: Mapped[str | None] = mapped_column(sa.String(64))  # the browser that asked
    next_path: Mapped[str] = mapped_column(sa.String(2000), default="")
    tries: Mapped[int] = mapped_column(default=0)  # codes entered, right or wrong
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class UserSession(Base):
    """One signed-in browser; the cookie holds the secret whose hash is here."""

    __tablename__ = "user_session"
    __table_args__ = (sa.Index("ix_user_session_user", "user_id"),)  # the page of one person's sessions

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[UUID] = _owner()
    secret_hash: Mapped[str] = mapped_column(sa.String(64), unique=True)
    network: Mapped[str] = mapped_column(sa.String(60), default="")
    user_agent: Mapped[str] = mapped_column(sa.String(300), default="")
    created_at: Mapped[datetime] = mapped_column(default=now)
    last_seen_at: Mapped[datetime] = mapped_column(default=now)


class ApiKey(Base):
    """A key for programs: shown once, then only its hash and first letters."""

    __tablename__ = "api_key"
    __table_args__ = (sa.Index("ix_api_key_owner", "owner_id"),)  # the page of one person's keys

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    owner_id: Mapped[UUID] = _owner()
    name: Mapped[str] = mapped_column(sa.String(100))
    prefix: Mapped[str] = mapped_column(sa.String(12))
    key_hash: Mapped[str] = mapped_column(sa.String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class Invitation(Base):
    """An address that an administrator lets in."""

    __tablename__ = "invitation"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    email: Mapped[str] = mapped_column(sa.String(320), unique=True)
    invited_by: Mapped[UUID | None] = mapped_column(sa.ForeignKey("user.id", ondelete="SET NULL"))
    created_at: Mapped[datetime] = mapped_column(default=now)
    accepted_at: Mapped[datetime | None]


class NoticePreference(Base):
    """Whether a person wants one kind of mail; no row means yes."""

    __tablename__ = "notice_preference"
    __table_args__ = (_one_of("kind", NOTICES),)

    user_id: Mapped[UUID] = mapped_column(sa.ForeignKey("user.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[str] = mapped_column(sa.String(20), primary_key=True)
    is_wanted: Mapped[bool]
    changed_at: Mapped[datetime] = mapped_column(default=now)


class UsageEntry(Base):
    """One paid (or free) call. Entries are only ever added."""

    __tablename__ = "usage_entry"
    __table_args__ = (
        # A paid call is metered once, however often its step is recorded.
        sa.UniqueConstraint("run_id", "step", "attempt", "kind", name="uq_usage_entry_call"),
        # Totals of one person.
        sa.Index("ix_usage_entry_owner_created", "owner_id", "created_at"),
        # The budget of the whole instance.
        sa.Index("ix_usage_entry_created", "created_at"),
        sa.CheckConstraint("quantity >= 0 AND microusd >= 0", name="amounts"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    owner_id: Mapped[UUID] = _owner()
    kind: Mapped[str] = mapped_column(sa.String(40))  # transcription, embeddings, ...
    model: Mapped[str] = mapped_column(sa.String(100))
    quantity: Mapped[float]
    unit: Mapped[str] = mapped_column(sa.String(20))  # seconds, tokens, ...
    microusd: Mapped[int] = mapped_column(sa.BigInteger)
    run_id: Mapped[UUID | None]  # null: outside any run, never de-duplicated
    step: Mapped[str] = mapped_column(sa.String(300), default="")
    attempt: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(default=now)


class UsageHold(Base):
    """The worst price of a paid call under way, set aside until the call is metered or given up."""

    __tablename__ = "usage_hold"
    __table_args__ = (sa.Index("ix_usage_hold_owner", "owner_id"),)  # what one person has set aside

    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    step: Mapped[str] = mapped_column(sa.String(300), primary_key=True)
    owner_id: Mapped[UUID] = _owner()
    microusd: Mapped[int] = mapped_column(sa.BigInteger)
    expires_at: Mapped[datetime]
