"""What a database session collects while its transaction goes on, and writes just before the COMMIT.

A rollback forgets what was collected, a rolled-back savepoint what was collected inside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session, SessionTransaction

Item = TypeVar("Item")


@dataclass
class _Collected(Generic[Item]):
    item: Item
    savepoint: SessionTransaction | None


@dataclass(frozen=True)
class Outbox(Generic[Item]):
    """Items of all sessions.

    Attributes:
        name: under which they are kept in `session.info`.
        write: writes them on the session's own connection, in its transaction.
        committed: called after each commit that is none of a savepoint.
        ended: called when the transaction is over, committed or not.
    """

    name: str
    write: Callable[[Session, list[Item]], None]
    committed: Callable[[Session], None]
    ended: Callable[[Session], None]

    def add(self, session: Session, item: Item) -> None:
        """Collect an item in the session's transaction, which begins if it has not."""
        if not session.in_transaction():
            session.begin()  # so that a rollback is noticed
        session.info.setdefault(self.name, []).append(_Collected(item, session.get_nested_transaction()))

    def items(self, session: Session) -> list[Item]:
        """Return what the session has collected and not written yet."""
        return [each.item for each in session.info.get(self.name, [])]

    def count(self, session: Session) -> int:
        """Return how many items that are."""
        return len(session.info.get(self.name, ()))

    def empty(self, session: Session) -> None:
        """Write what has been collected by now."""
        items = self.items(session)
        session.info.pop(self.name, None)
        if items:
            self.write(session, items)

    def listen(self) -> None:
        """Hook into every session's transaction."""
        sa.event.listen(Session, "before_commit", self._before_commit)
        sa.event.listen(Session, "after_commit", self._after_commit)
        sa.event.listen(Session, "after_transaction_end", self._after_end)

    def _before_commit(self, session: Session) -> None:
        if session.info.get(self.name) and session.get_nested_transaction() is None:
            session.flush()  # the caller's rows first: a refused row costs no item
            self.empty(session)

    def _after_commit(self, session: Session) -> None:
        released = session.get_nested_transaction()
        if released is None:
            self.committed(session)
            return
        for each in session.info.get(self.name, []):  # a released savepoint: they belong to the level above
            if each.savepoint is released:
                each.savepoint = released.parent if released.parent and released.parent.nested else None

    def _after_end(self, session: Session, transaction: SessionTransaction) -> None:
        if transaction.nested:
            kept = [each for each in session.info.get(self.name, []) if each.savepoint is not transaction]
            session.info[self.name] = kept
        elif transaction.parent is None:
            session.info.pop(self.name, None)
            self.ended(session)
