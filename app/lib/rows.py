"""Rows of a statement as objects of one class."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
from psycopg.rows import class_row
from sqlalchemy.orm import Session, scoped_session

Row = TypeVar("Row")
Values = Sequence[Any] | Mapping[str, Any]


def rows_of(kind: type[Row], connection: psycopg.Connection[Any], statement: str, values: Values = ()) -> list[Row]:
    """Execute `statement`; return its rows as `kind`, whose arguments are called like the columns."""
    with connection.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(statement, values).fetchall()


def row_of(kind: type[Row], connection: psycopg.Connection[Any], statement: str, values: Values = ()) -> Row | None:
    """Execute `statement`; return its first row as `kind`, or None."""
    return next(iter(rows_of(kind, connection, statement, values)), None)


def many(connection: psycopg.Connection[Any], statement: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Execute `statement` for every row, in few round trips."""
    if len(rows) == 1:
        connection.execute(statement, rows[0])
    elif rows:
        with connection.cursor() as cursor:
            cursor.executemany(statement, rows)


def columns_of(kind: type[Any], table: sa.Table, *but: str) -> list[sa.Column[Any]]:
    """Return the columns of a table that are called like the fields of a dataclass, without those named in `but`."""
    return [table.c[field.name] for field in dataclasses.fields(kind) if field.name not in but]


def views(kind: type[Row], session: scoped_session[Session], query: sa.Select[Any]) -> list[Row]:
    """Return the rows of a query as `kind`, whose arguments are called like its columns."""
    return [kind(**row) for row in session.execute(query).mappings()]
