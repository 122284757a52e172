"""What one person may spend in a month and store: as the settings have it, or as an administrator has set it."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from app import log
from app.accounts.models import User
from app.db import db
from app.errors import NotFound
from app.web import settings

logger = log.get(__name__)


@dataclass(frozen=True)
class Limits:
    """The limits of one person; `is_own_*`: set for them alone, not by the settings."""

    budget_microusd: int
    storage_quota_bytes: int
    is_own_budget: bool
    is_own_quota: bool


def limits_of(user: User | None) -> Limits:
    """Return what a person may spend and store; of somebody who is not here, what the settings say."""
    rules = settings()
    budget = user.budget_microusd if user else None
    quota = user.storage_quota_bytes if user else None
    return Limits(
        budget_microusd=rules.budget_person_microusd if budget is None else budget,
        storage_quota_bytes=rules.storage_quota_bytes if quota is None else quota,
        is_own_budget=budget is not None,
        is_own_quota=quota is not None,
    )


def change_limits(
    user_id: UUID | None, *, by: UUID, budget_microusd: int | None, storage_quota_bytes: int | None
) -> User:
    """Set what a person may spend in a month and store; None: as the settings have it. The log says who did it.

    What was stored or spent before stays; a limit below it only stops what comes after.

    Raises:
        NotFound: no such person.
    """
    user = db.session.get(User, user_id, with_for_update={"key_share": True}) if user_id else None
    if user is None:
        raise NotFound
    before = {"budget_before": user.budget_microusd, "quota_before": user.storage_quota_bytes}
    user.budget_microusd, user.storage_quota_bytes = budget_microusd, storage_quota_bytes
    about = {"budget_microusd": budget_microusd, "storage_quota_bytes": storage_quota_bytes}
    logger.info("person.limits_changed", user_id=str(user.id), by=str(by), **about, **before)
    return user
