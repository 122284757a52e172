"""What one person's usage page shows: the totals of one month, a chart of its days, and how near the limits are."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from app.accounts.models import UsageEntry, User
from app.accounts.service.limits import limits_of
from app.accounts.service.usage import month_start, storage_used
from app.db import db
from app.lib.clock import now
from app.lib.text import file_size, money

NEAR = 0.8  # from this share of a limit on, the person is told
CHART_WIDTH, CHART_HEIGHT, CHART_FOOT = 720, 200, 24


@dataclass(frozen=True)
class Total:
    """What one kind of call with one model came to in a month."""

    kind: str
    model: str
    quantity: float
    unit: str
    calls: int
    microusd: int


@dataclass(frozen=True)
class Bar:
    """One day of the chart, in the units of its viewBox."""

    day: date
    microusd: int
    calls: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Month:
    """One month of one person, or of everybody."""

    month: str  # 2026-11
    title: str  # November 2026
    previous: str
    following: str | None
    totals: Sequence[Total]
    bars: Sequence[Bar]
    highest_microusd: int
    spent_microusd: int
    budget_microusd: int


@dataclass(frozen=True)
class Report(Month):
    """One month of one person."""

    storage_used_bytes: int
    storage_quota_bytes: int

    @property
    def warnings(self) -> list[tuple[str, str]]:
        """Return `(title, what to do)` for each limit that is used up or nearly so; nothing of months gone by."""
        if self.following:
            return []
        budget, quota = money(self.budget_microusd), file_size(self.storage_quota_bytes)
        found = [
            _near(
                self.spent_microusd / max(1, self.budget_microusd),
                f"{money(self.spent_microusd)} of {budget} are spent this month",
                "Work that costs something stops when it is used up, and goes on next month. An administrator can "
                "raise it.",
            ),
            _near(
                self.storage_used_bytes / max(1, self.storage_quota_bytes),
                f"{file_size(self.storage_used_bytes)} of {quota} are stored",
                "Uploads are refused when it is full. Delete videos that you no longer need, or ask an administrator "
                "for more room.",
            ),
        ]
        return [warning for warning in found if warning]


def _near(share: float, title: str, what_to_do: str) -> tuple[str, str] | None:
    return (title, what_to_do) if share >= NEAR else None


def month_totals(owner_id: UUID | None, start: datetime) -> list[Total]:
    """Return the totals of the month that begins at `start`, the dearest first; no owner: everybody's."""
    rows = db.session.execute(
        sa.select(
            UsageEntry.kind,
            UsageEntry.model,
            sa.func.sum(UsageEntry.quantity),
            UsageEntry.unit,
            sa.func.count(),
            sa.func.sum(UsageEntry.microusd).label("microusd"),
        )
        .where(*of_month(owner_id, start))
        .group_by(UsageEntry.kind, UsageEntry.model, UsageEntry.unit)
        .order_by(sa.desc("microusd"), UsageEntry.kind, UsageEntry.model)
    )
    return [
        Total(kind, model, float(quantity), unit, calls, int(microusd))
        for kind, model, quantity, unit, calls, microusd in rows
    ]


def day_totals(owner_id: UUID | None, start: datetime) -> dict[date, tuple[int, int]]:
    """Return (micro-USD, calls) of each day (UTC) with any, in the month that begins at `start`."""
    day: Any = sa.cast(sa.func.timezone("UTC", UsageEntry.created_at), sa.Date)
    rows = db.session.execute(
        sa.select(day, sa.func.sum(UsageEntry.microusd), sa.func.count())
        .where(*of_month(owner_id, start))
        .group_by(day)
    )
    return {found: (int(microusd), calls) for found, microusd, calls in rows}


def of_month(owner_id: UUID | None, start: datetime) -> list[sa.ColumnElement[bool]]:
    """Return which entries belong to the month that begins at `start`, of one person or of everybody."""
    month = [UsageEntry.created_at >= start, UsageEntry.created_at < after(start)]
    return month if owner_id is None else [UsageEntry.owner_id == owner_id, *month]


def make(owner_id: UUID, month: str = "") -> Report:
    """Return the report of a month ("2026-11"); anything else, or a month to come, means this month."""
    limits = limits_of(db.session.get(User, owner_id))
    return Report(
        **month_values(owner_id, start_of(month)),
        budget_microusd=limits.budget_microusd,
        storage_used_bytes=storage_used(owner_id),
        storage_quota_bytes=limits.storage_quota_bytes,
    )


def start_of(month: str) -> datetime:
    """Return where a month ("2026-11") begins; anything else, or a month to come, means this month."""
    this_month = month_start(now())
    return min(_parse(month) or this_month, this_month)


def month_values(owner_id: UUID | None, start: datetime) -> dict[str, Any]:
    """Return what a Month says, but for its budget."""
    totals = month_totals(owner_id, start)
    days = day_totals(owner_id, start)
    highest = max((microusd for microusd, _calls in days.values()), default=0)
    return {
        "month": f"{start:%Y-%m}",
        "title": f"{start:%B %Y}",
        "previous": f"{start - timedelta(days=1):%Y-%m}",
        "following": f"{after(start):%Y-%m}" if start < month_start(now()) else None,
        "totals": totals,
        "bars": _bars(start, days, highest),
        "highest_microusd": highest,
        "spent_microusd": sum(total.microusd for total in totals),
    }


def cost_of_runs(owner_id: UUID, run_ids: Collection[UUID]) -> int:
    """Return what runs of a person have cost so far, in micro-USD."""
    query = sa.select(sa.func.coalesce(sa.func.sum(UsageEntry.microusd), 0))
    return int(db.session.scalar(query.where(UsageEntry.run_id.in_(run_ids), UsageEntry.owner_id == owner_id)) or 0)


def _bars(start: datetime, days: dict[date, tuple[int, int]], highest: int) -> list[Bar]:
    count = monthrange(start.year, start.month)[1]
    slot, room = CHART_WIDTH / count, CHART_HEIGHT - CHART_FOOT
    bars = []
    for index in range(count):
        day = (start + timedelta(days=index)).date()
        microusd, calls = days.get(day, (0, 0))
        height = room * microusd / highest if highest else 0.0
        if calls:
            height = max(height, 2.0)  # a day with free calls is not an empty day
        bars.append(
            Bar(day, microusd, calls, round(slot * index + 2, 1), round(room - height, 1), round(slot - 4, 1), height)
        )
    return bars


def after(start: datetime) -> datetime:
    """Return where the month after the one that begins at `start` begins."""
    return month_start(start + timedelta(days=32))


def _parse(month: str) -> datetime | None:
    if not re.fullmatch(r"20[0-9]{2}-(0[1-9]|1[0-2])", month):
        return None
    return datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
