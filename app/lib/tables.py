"""Tables in few words: columns of one type together, an index in one line."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa


def keys(kind: Any, *names: str) -> list[sa.Column[Any]]:
    """Return columns of the primary key."""
    return [sa.Column(name, kind, primary_key=True) for name in names]


def must(kind: Any, *names: str, default: str | None = None) -> list[sa.Column[Any]]:
    """Return columns that are never null; `default` is an SQL value."""
    return [sa.Column(name, kind, nullable=False, server_default=default) for name in names]


def may(kind: Any, *names: str) -> list[sa.Column[Any]]:
    """Return columns that may be null."""
    return [sa.Column(name, kind) for name in names]


def one_of(column: str, *values: str) -> sa.CheckConstraint:
    """Return the check that a text column has one of these values."""
    return sa.CheckConstraint(f"{column} IN ({', '.join(repr(value) for value in values)})", name=column)


def index(name: str, table: sa.Table, columns: str, where: str | None = None, *, unique: bool = False) -> None:
    """Add an index over `columns` (words), of the rows `where` (SQL) only."""
    partial = None if where is None else sa.text(where)
    sa.Index(name, *(table.c[column] for column in columns.split()), unique=unique, postgresql_where=partial)
