"""What the administrator's usage page shows: everybody's month, the budget of the instance, and who uses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from app.accounts import usage_report
from app.accounts.models import UsageEntry, UsageHold, User
from app.accounts.service.limits import Limits, limits_of
from app.accounts.service.usage import storage_used
from app.db import db
from app.lib.clock import now
from app.lib.text import like
from app.web import settings

MOST_PEOPLE = 50  # on one page: what each of them stores is counted anew


@dataclass(frozen=True)
class PersonLine:
    """What one person used in a month, and stores now."""

    id: UUID
    email: str
    name: str
    is_disabled: bool
    calls: int
    microusd: int
    stored_bytes: int
    limits: Limits


@dataclass(frozen=True)
class Instance(usage_report.Month):
    """One month of everybody; `held_microusd` is set aside now for calls under way."""

    held_microusd: int
    people: Sequence[PersonLine]
    people_count: int

    @property
    def left_microusd(self) -> int:
        """Return what is neither spent nor held, this month."""
        return max(0, self.budget_microusd - self.spent_microusd - self.held_microusd)


def make(month: str = "", search: str = "") -> Instance:
    """Return everybody's month ("2026-11", anything else: this month), with people whose name holds `search`."""
    start = usage_report.start_of(month)
    values = usage_report.month_values(None, start)
    is_now = values["following"] is None
    return Instance(
        **values,
        budget_microusd=settings().budget_instance_microusd,
        held_microusd=held() if is_now else 0,
        people=_people(month, search),
        people_count=db.session.scalar(sa.select(sa.func.count()).select_from(User)) or 0,
    )


def held() -> int:
    """Return what is set aside for calls under way, of everybody, in micro-USD."""
    query = sa.select(sa.func.coalesce(sa.func.sum(UsageHold.microusd), 0)).where(UsageHold.expires_at > now())
    return int(db.session.scalar(query) or 0)


def _people(month: str, search: str) -> list[PersonLine]:
    used = (
        sa.select(
            UsageEntry.owner_id,
            sa.func.count().label("calls"),
            sa.func.sum(UsageEntry.microusd).label("microusd"),
        )
        .where(*usage_report.of_month(None, usage_report.start_of(month)))
        .group_by(UsageEntry.owner_id)
        .subquery()
    )
    calls, microusd = sa.func.coalesce(used.c.calls, 0), sa.func.coalesce(used.c.microusd, 0)
    rows = db.session.execute(
        sa.select(User, calls, microusd)
        .outerjoin(used, used.c.owner_id == User.id)
        .where(sa.or_(User.email.ilike(like(search)), User.name.ilike(like(search))))
        .order_by(microusd.desc(), calls.desc(), User.email)
        .limit(MOST_PEOPLE)
    ).all()
    return [
        PersonLine(
            user.id,
            user.email,
            user.name,
            user.is_disabled,
            count,
            int(cost),
            storage_used(user.id),
            limits_of(user),
        )
        for user, count, cost in rows
    ]
