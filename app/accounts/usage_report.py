"""What the usage page shows: the totals of one month and a chart of its days."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from app.accounts.models import UsageEntry
from app.accounts.service.usage import month_start, storage_used
from app.db import db
from app.lib.clock import now
from app.web import settings

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
class Report:
    """One month of one person."""

    month: str  # 2026-11
    title: str  # November 2026
    previous: str
    following: str | None
    totals: Sequence[Total]
    bars: Sequence[Bar]
    highest_microusd: int
    spent_microusd: int
    budget_microusd: int
    storage_used_bytes: int
    storage_quota_bytes: int


def month_totals(owner_id: UUID, start: datetime) -> list[Total]:
    """Return the totals of the month that begins at `start`, the dearest first."""
    rows = db.session.execute(
        sa.select(
            UsageEntry.kind,
            UsageEntry.model,
            sa.func.sum(UsageEntry.quantity),
            UsageEntry.unit,
            sa.func.count(),
            sa.func.sum(UsageEntry.microusd).label("microusd"),
        )
        .where(UsageEntry.owner_id == owner_id, UsageEntry.created_at >= start, UsageEntry.created_at < _after(start))
        .group_by(UsageEntry.kind, UsageEntry.model, UsageEntry.unit)
        .order_by(sa.desc("microusd"), UsageEntry.kind, UsageEntry.model)
    )
    return [
        Total(kind, model, float(quantity), unit, calls, int(microusd))
        for kind, model, quantity, unit, calls, microusd in rows
    ]


def day_totals(owner_id: UUID, start: datetime) -> dict[date, tuple[int, int]]:
    """Return (micro-USD, calls) of each day (UTC) with any, in the month that begins at `start`."""
    day: Any = sa.cast(sa.func.timezone("UTC", UsageEntry.created_at), sa.Date)
    rows = db.session.execute(
        sa.select(day, sa.func.sum(UsageEntry.microusd), sa.func.count())
        .where(UsageEntry.owner_id == owner_id, UsageEntry.created_at >= start, UsageEntry.created_at < _after(start))
        .group_by(day)
    )
    return {found: (int(microusd), calls) for found, microusd, calls in rows}


def make(owner_id: UUID, month: str = "") -> Report:
    """Return the report of a month ("2026-11"); anything else, or a month to come, means this month."""
    this_month = month_start(now())
    start = min(_parse(month) or this_month, this_month)
    totals = month_totals(owner_id, start)
    days = day_totals(owner_id, start)
    highest = max((microusd for microusd, _calls in days.values()), default=0)
    return Report(
        month=f"{start:%Y-%m}",
        title=f"{start:%B %Y}",
        previous=f"{start - timedelta(days=1):%Y-%m}",
        following=f"{_after(start):%Y-%m}" if start < this_month else None,
        totals=totals,
        bars=_bars(start, days, highest),
        highest_microusd=highest,
        spent_microusd=sum(total.microusd for total in totals),
        budget_microusd=settings().budget_person_microusd,
        storage_used_bytes=storage_used(owner_id),
        storage_quota_bytes=settings().storage_quota_bytes,
    )


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


def _after(start: datetime) -> datetime:
    return month_start(start + timedelta(days=32))


def _parse(month: str) -> datetime | None:
    if not re.fullmatch(r"20[0-9]{2}-(0[1-9]|1[0-2])", month):
        return None
    return datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
