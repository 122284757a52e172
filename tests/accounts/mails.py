"""What tests read out of the development outbox."""

from __future__ import annotations

import re

import sqlalchemy as sa

from app.adapters.outbox import MailRow
from app.db import db


def all_mails() -> list[MailRow]:
    return list(db.session.scalars(sa.select(MailRow).order_by(MailRow.created_at, MailRow.id)))


def link_in(mail: MailRow) -> str:
    """The path of the sign-in link in a mail."""
    return re.search(r"https?://[^/\s]+(/sign-in/link/\S+)", mail.text)[1]


def code_in(mail: MailRow) -> str:
    return re.search(r"\b(\d{3}) (\d{3})\b", mail.text)[0].replace(" ", "")
