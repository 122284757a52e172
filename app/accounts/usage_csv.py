"""Usage as CSV, row by row: one person's entries, or the sums of everybody's month. Times in UTC (RFC 4180)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from uuid import UUID

import sqlalchemy as sa

from app.accounts import usage_report
from app.accounts.models import UsageEntry, User
from app.db import separately

ROWS_AT_ONCE = 1000
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def entries(owner_id: UUID, month: str = "") -> Iterator[str]:
    """Yield a person's entries, oldest first: of one month ("2026-11"), or with nothing named all there are."""
    wanted = usage_report.of_month(owner_id, usage_report.start_of(month)) if month else [_of(owner_id)]
    query = sa.select(
        UsageEntry.created_at,
        UsageEntry.kind,
        UsageEntry.model,
        UsageEntry.quantity,
        UsageEntry.unit,
        UsageEntry.microusd,
        UsageEntry.run_id,
        UsageEntry.step,
    ).where(*wanted)
    yield _lines([["time", "kind", "model", "quantity", "unit", "usd", "run", "step"]])
    with separately() as session:
        rows = session.execute(
            query.order_by(UsageEntry.created_at, UsageEntry.id), execution_options={"yield_per": ROWS_AT_ONCE}
        )
        for part in rows.partitions():
            yield _lines(
                [f"{row[0]:%Y-%m-%dT%H:%M:%SZ}", *row[1:5], f"{row.microusd / 1e6:.6f}", row.run_id or "", row.step]
                for row in part
            )


def sums(month: str = "") -> Iterator[str]:
    """Yield what each person used in a month of each kind and model, the dearest first."""
    start = usage_report.start_of(month)
    cost = sa.func.sum(UsageEntry.microusd)
    query = (
        sa.select(
            User.email,
            UsageEntry.kind,
            UsageEntry.model,
            sa.func.count(),
            sa.func.sum(UsageEntry.quantity),
            UsageEntry.unit,
            cost,
        )
        .join(User, User.id == UsageEntry.owner_id)
        .where(*usage_report.of_month(None, start))
        .group_by(User.email, UsageEntry.kind, UsageEntry.model, UsageEntry.unit)
        .order_by(cost.desc(), User.email, UsageEntry.kind, UsageEntry.model)
    )
    yield _lines([["month", "person", "kind", "model", "calls", "quantity", "unit", "usd"]])
    with separately() as session:
        for part in session.execute(query, execution_options={"yield_per": ROWS_AT_ONCE}).partitions():
            yield _lines([f"{start:%Y-%m}", *row[:6], f"{row[6] / 1_000_000:.6f}"] for row in part)


def _of(owner_id: UUID) -> sa.ColumnElement[bool]:
    return UsageEntry.owner_id == owner_id


def _lines(rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([_safe(value) for value in row] for row in rows)
    return text.getvalue()


def _safe(value: object) -> object:
    # A table program would take such a text for a formula.
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
