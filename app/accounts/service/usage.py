"""Metering: what was used, what it cost, and whether there is budget for more."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.accounts.models import UsageEntry, UsageHold, User
from app.accounts.service.limits import limits_of
from app.db import db, separately
from app.errors import NotFound, Permanent, TooLarge
from app.lib.clock import now
from app.lib.ids import new_id
from app.lib.text import money
from app.web import settings

HOLD_LIVES = timedelta(hours=2)  # longer than any one call; what a killed process set aside comes back then
STORAGE_COUNTERS = "throughline.storage_counters"
_INSTANCE_LOCK = 0x7468726F  # one advisory lock: the budget of the whole instance


class OverBudget(Permanent):
    """A paid call was refused before it was made; the message says when there is budget again."""

    status = 402
    code = "over_budget"


def ensure_budget(owner_id: UUID, worst_microusd: int, *, run_id: UUID | None = None, step: str = "") -> None:
    """Make sure that a call costing at most `worst_microusd` fits this month's budgets, before it is made.

    With `run_id` and `step` the worst price is set aside until `record_usage` of the same run and step, so
    that parallel calls cannot spend the same rest twice; a repeated attempt replaces its own. Commits in a
    transaction of its own under the person's row lock and the instance's, so not after `ensure_storage` in
    one transaction.

    Raises:
        OverBudget: it does not fit (402).
        NotFound: no such person.
    """
    if worst_microusd <= 0:
        return
    with separately() as session:
        # A caller that holds the person's row in its own transaction would wait for itself: fail instead.
        session.execute(sa.select(sa.func.set_config("lock_timeout", "10s", True)))
        # Lock order everywhere: the instance, then the person.
        session.execute(sa.select(sa.func.pg_advisory_xact_lock(_INSTANCE_LOCK)))
        person = session.scalar(_lock_person(owner_id))
        if person is None:
            raise NotFound
        _refuse_over_budget(session, person, worst_microusd, run_id, step)
        if run_id is not None:
            values = {"owner_id": owner_id, "microusd": worst_microusd, "expires_at": now() + HOLD_LIVES}
            session.execute(
                insert(UsageHold)
                .values(run_id=run_id, step=step, **values)
                .on_conflict_do_update(index_elements=[UsageHold.run_id, UsageHold.step], set_=values)
            )


def record_usage(
    owner_id: UUID,
    *,
    kind: str,
    model: str,
    quantity: float,
    unit: str,
    microusd: int,
    run_id: UUID | None = None,
    step: str = "",
    attempt: int = 1,
) -> None:
    """Add one entry and give back what `ensure_budget` had set aside.

    Commits in a transaction of its own: a paid call is metered also when its step then fails. The same
    (run, step, attempt, kind) is metered once. A process that dies between the provider's answer and this call
    leaves it unmetered until the step is tried again, which finds the kept answer and what it cost. Gap: it dies
    before the answer is kept; then the call is made, and paid, twice, and metered once.
    """
    with separately() as session:
        if run_id is not None:
            session.execute(sa.delete(UsageHold).where(UsageHold.run_id == run_id, UsageHold.step == step))
        session.execute(
            insert(UsageEntry)
            .values(
                id=new_id(),
                owner_id=owner_id,
                kind=kind,
                model=model[:100],
                quantity=quantity,
                unit=unit,
                microusd=microusd,
                run_id=run_id,
                step=step,
                attempt=attempt,
                created_at=now(),
            )
            .on_conflict_do_nothing(constraint="uq_usage_entry_call")
        )


def release(run_id: UUID, step: str) -> None:
    """Give back what `ensure_budget` had set aside for a step, in a transaction of its own."""
    with separately() as session:
        session.execute(sa.delete(UsageHold).where(UsageHold.run_id == run_id, UsageHold.step == step))


def register_storage(counter: Callable[[UUID], int]) -> None:
    """Count a room's stored bytes into the quota: `counter(owner_id) -> bytes`. Called while the app is built."""
    current_app.extensions.setdefault(STORAGE_COUNTERS, []).append(counter)


def storage_used(owner_id: UUID) -> int:
    """Return how many bytes all rooms together store for a person."""
    return sum(counter(owner_id) for counter in current_app.extensions.get(STORAGE_COUNTERS, []))


def storage_left(owner_id: UUID) -> int:
    """Return how many bytes a person may still store; below 0 when a quota was lowered under what is stored."""
    return limits_of(db.session.get(User, owner_id)).storage_quota_bytes - storage_used(owner_id)


def ensure_storage(owner_id: UUID, more_bytes: int) -> None:
    """Make sure that `more_bytes` fit the storage quota, under the person's row lock until the caller's commit.

    Raises:
        TooLarge: it does not fit; the message says what to do.
    """
    quota = limits_of(db.session.scalar(_lock_person(owner_id))).storage_quota_bytes
    used = storage_used(owner_id)
    if used + more_bytes > quota:
        raise TooLarge(
            f"Your storage is full: {used / 1e9:.1f} of {quota / 1e9:.1f} GB are used. "
            "Delete videos that you no longer need, or ask an administrator for more room, then try again."
        )


def give_back(run_id: UUID) -> None:
    """Give back what calls of a run had set aside; for a run that has ended, since what was called is metered."""
    db.session.execute(sa.delete(UsageHold).where(UsageHold.run_id == run_id))


def _lock_person(owner_id: UUID) -> sa.Select[User]:
    # Not FOR UPDATE, which waits for every uncommitted row that names this person as its owner.
    query = sa.select(User).where(User.id == owner_id).with_for_update(key_share=True)
    # Their limits as they are now: a retry comes right after an administrator has raised them.
    return query.execution_options(populate_existing=True)


def month_start(moment: datetime) -> datetime:
    """Return the first moment (UTC) of the month of `moment`."""
    return moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _refuse_over_budget(session: Session, person: User, worst: int, run_id: UUID | None, step: str) -> None:
    mine = UsageEntry.owner_id == person.id, UsageHold.owner_id == person.id
    everyone = sa.true(), sa.true()
    for budget, (entries, holds), whose in (
        (limits_of(person).budget_microusd, mine, "Your budget"),
        (settings().budget_instance_microusd, everyone, "The budget of this whole instance"),
    ):
        other_hold = sa.or_(UsageHold.run_id != run_id, UsageHold.step != step) if run_id else sa.true()
        spent = session.scalar(
            sa.select(sa.func.coalesce(sa.func.sum(UsageEntry.microusd), 0)).where(
                entries, UsageEntry.created_at >= month_start(now())
            )
        )
        held = session.scalar(
            sa.select(sa.func.coalesce(sa.func.sum(UsageHold.microusd), 0)).where(
                holds, UsageHold.expires_at > now(), other_hold
            )
        )
        if int(spent or 0) + int(held or 0) + worst > budget:
            raise OverBudget(
                f"{whose} for this month ({money(budget)}) does not cover this: {money(int(spent or 0))} are spent. "
                "Wait for next month, or ask an administrator to raise it, then retry."
            )
