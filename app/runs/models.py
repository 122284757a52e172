"""The audit log: what administrators did with other people's things."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base
from app.lib.clock import now
from app.lib.ids import new_id


class AuditEntry(Base):
    """Who did what to what, when. Rows are only ever added."""

    __tablename__ = "audit_entry"
    __table_args__ = (
        # What was done to one thing, newest first (the run page).
        sa.Index("ix_audit_entry_subject", "subject", sa.text("id DESC")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[UUID] = mapped_column()  # no foreign key: the entry outlives the person
    action: Mapped[str] = mapped_column(sa.String(60))  # such as run.show
    subject: Mapped[str] = mapped_column(sa.String(120))  # such as run:<id>
    created_at: Mapped[datetime] = mapped_column(default=now)
