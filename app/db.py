"""The database session, and the three rules around a transaction.

1. A view that returns commits, one that raises rolls back (`app.web.Throughline`); services never commit.
2. What must survive a refusal is written with `separately()`.
3. Nothing outside is called while a transaction holds changes (`app.lib.outside`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from flask import has_app_context
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, ORMExecuteState, Session

from app import log
from app.lib import outside

logger = log.get(__name__)

NAMING = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Base of every table of the rooms (the engine keeps its own metadata)."""

    metadata = sa.MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012  (read by SQLAlchemy as a class attribute)
        datetime: sa.DateTime(timezone=True),
        UUID: sa.Uuid(),
        dict[str, Any]: JSONB(),
        list[Any]: JSONB(),
    }


db = SQLAlchemy(session_options={"expire_on_commit": False})


class OpenTransaction(Exception):
    """An outside call was tried while the transaction held changes; commit them or move the call."""


@contextmanager
def separately() -> Iterator[Session]:
    """Open a short transaction of its own, committed at the end of the block whatever the request does."""
    with Session(db.engine, expire_on_commit=False) as session, session.begin():
        yield session


def after_commit(name: str, hook: Callable[[], None], session: Session | None = None) -> None:
    """Run `hook` once after the current transaction commits; a later hook of the same name replaces it.

    A rollback forgets it. A hook that fails is logged: the commit has happened and is not undone.
    """
    target: Session = session or db.session()
    if not target.in_transaction():
        target.begin()  # else a rollback now would have nothing to roll back, and not forget the hook
    target.info.setdefault("after_commit", {})[name] = hook


def on_rollback(name: str, hook: Callable[[], object]) -> None:
    """Run `hook` once if the current transaction is rolled back; a commit forgets it.

    For what a transaction has done outside of the database (a file that was stored). A process that dies runs none.
    """
    db.session().info.setdefault("on_rollback", {})[name] = hook


def end_reading() -> None:
    """End a read-only transaction before an outside call.

    Raises:
        OpenTransaction: there are unwritten or uncommitted changes.
    """
    if not has_app_context() or not db.session.registry.has():
        return
    session = db.session()
    if session.info.get("is_tidying"):
        return  # the transaction has ended; its hooks remove what it stored elsewhere
    if session.new or session.dirty or session.deleted or session.info.get("wrote"):
        raise OpenTransaction("Commit or drop the changes of this transaction before calling outside.")
    session.rollback()


def _mark_written(session: Session, *_rest: object) -> None:
    session.info["wrote"] = True


def _mark_bulk(state: ORMExecuteState) -> None:
    if not state.is_select:
        state.session.info["wrote"] = True


def _forget(session: Session) -> None:
    session.info.pop("wrote", None)


def _after_rollback(session: Session, _previous: object = None) -> None:
    _forget(session)
    session.info.pop("after_commit", None)
    session.info["is_tidying"] = True
    try:
        _run(session.info.pop("on_rollback", {}), "on_rollback.failed")
    finally:
        session.info.pop("is_tidying")


def _run_hooks(session: Session) -> None:
    if session.in_nested_transaction():
        return  # a savepoint was released: nothing is committed yet
    _forget(session)
    session.info.pop("on_rollback", None)
    _run(session.info.pop("after_commit", {}), "after_commit.failed")


def _run(hooks: dict[str, Callable[[], object]], failure: str) -> None:
    for name, hook in hooks.items():
        try:
            hook()
        except Exception:  # the wall behind a transaction: it has ended, and a hook's failure changes nothing of it
            logger.exception(failure, hook=name)


event.listen(Session, "after_flush", _mark_written)
event.listen(Session, "do_orm_execute", _mark_bulk)
event.listen(Session, "after_commit", _run_hooks)
event.listen(Session, "after_rollback", _after_rollback)
outside.guard("transaction", end_reading)
