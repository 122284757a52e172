"""What a database session collects while its transaction goes on, and writes just before the COMMIT.

What others are to be told of it is said after the COMMIT. A rollback forgets what was collected, a rolled-back
savepoint what was collected inside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session, SessionTransaction


class Tidings(Protocol):
    """What gathers in a transaction for others to hear."""

    def tell(self) -> None:
        """Tell them, once it has committed."""


Item = TypeVar("Item")
Told = TypeVar("Told", bound=Tidings)


@dataclass
class _Collected(Generic[Item]):
    item: Item
    savepoint: SessionTransaction | None


@dataclass(frozen=True)
class Outbox(Generic[Item, Told]):
    """Items of all sessions.

    Attributes:
        name: under which they are kept in `session.info`.
        write: writes them on the session's own connection, in its transaction.
        tidings: makes what gathers for others to hear.
    """

    name: str
    write: Callable[[Session, list[Item]], None]
    tidings: Callable[[], Told]

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

    def after(self, session: Session) -> Told:
        """Return what will be told once the session has committed."""
        found: Told = session.info.setdefault(f"{self.name}.after", self.tidings())
        return found

    def is_unused(self, session: Session) -> bool:
        """Tell whether nothing has been collected in this transaction, and nothing is to be told after it."""
        return not session.info.get(self.name) and f"{self.name}.after" not in session.info

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
            session.info.pop(f"{self.name}.after", self.tidings()).tell()
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
            session.info.pop(f"{self.name}.after", None)
