"""The table of mails: what was sent, once per key; in development also the place where mails land."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.db import Base
from app.lib.clock import now
from app.lib.ids import new_id

STATUSES = ("sending", "sent", "outbox", "failed")
DONE = ("sent", "outbox")
SECRETS_KEPT = timedelta(minutes=15)  # as long as a sign-in link lives


class MailRow(Base):
    """One mail. `text` and `html` are empty where a secret was in them and may no longer be kept."""

    __tablename__ = "mail"
    __table_args__ = (
        sa.CheckConstraint(f"status IN ({', '.join(repr(status) for status in STATUSES)})", name="status"),
        # The development outbox, newest first.
        sa.Index("ix_mail_created", "created_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    idempotency_key: Mapped[str] = mapped_column(sa.String(256), unique=True)
    to: Mapped[str] = mapped_column(sa.String(320))
    subject: Mapped[str] = mapped_column(sa.String(300))
    text: Mapped[str] = mapped_column(sa.Text)
    html: Mapped[str] = mapped_column(sa.Text)
    headers: Mapped[dict[str, Any]] = mapped_column(default=dict)
    is_secret: Mapped[bool] = mapped_column(default=False)
    status: Mapped[str] = mapped_column(sa.String(20), default="sending")
    provider_id: Mapped[str | None] = mapped_column(sa.String(100))
    error: Mapped[str | None] = mapped_column(sa.String(300))
    created_at: Mapped[datetime] = mapped_column(default=now)
    sent_at: Mapped[datetime | None]


@dataclass(frozen=True)
class OutboxMail:
    """A mail of the development outbox as its page shows it."""

    id: UUID
    to: str
    subject: str
    text: str
    html: str
    created_at: datetime


def forget_secrets(session: Session) -> None:
    """Empty the bodies of mails whose link or code has expired."""
    session.execute(
        sa.update(MailRow)
        .where(MailRow.is_secret, MailRow.created_at < now() - SECRETS_KEPT, MailRow.text != "")
        .values(text="", html="")
    )


def list_outbox(session: Session, limit: int = 50) -> list[OutboxMail]:
    """Return the newest mails of the development outbox."""
    rows = session.scalars(
        sa.select(MailRow).where(MailRow.status == "outbox").order_by(MailRow.created_at.desc()).limit(limit)
    )
    return [_show(row) for row in rows]


def find_in_outbox(session: Session, mail_id: UUID) -> OutboxMail | None:
    """Return one mail of the development outbox."""
    row = session.get(MailRow, mail_id)
    return _show(row) if row and row.status == "outbox" else None


def _show(row: MailRow) -> OutboxMail:
    return OutboxMail(row.id, row.to, row.subject, row.text, row.html, row.created_at)
