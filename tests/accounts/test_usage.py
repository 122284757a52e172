"""Metering and budgets."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from app.accounts import service, usage_report
from app.accounts.models import UsageEntry, UsageHold
from app.accounts.service import OverBudget
from app.accounts.service.usage import STORAGE_COUNTERS
from app.db import db
from app.errors import NotFound, TooLarge
from app.lib.clock import now
from app.lib.ids import new_id
from tests.factories import make_user

DOLLAR = 1_000_000


@pytest.fixture
def rules(app):
    kept = app.settings
    app.settings = replace(kept, budget_person_microusd=10 * DOLLAR, budget_instance_microusd=15 * DOLLAR)
    yield app.settings
    app.settings = kept


def use(owner, microusd, **changes):
    values = {"kind": "transcription", "model": "m", "quantity": 60, "unit": "seconds", **changes}
    service.record_usage(owner.id, microusd=microusd, **values)


def entries() -> int:
    db.session.rollback()
    return db.session.scalar(sa.select(sa.func.count()).select_from(UsageEntry))


def test_one_paid_call_is_metered_once(app):
    owner, run_id = make_user(), new_id()
    for _ in range(3):
        use(owner, 5, run_id=run_id, step="piece[0]", attempt=1)
    use(owner, 5, run_id=run_id, step="piece[0]", attempt=2)
    use(owner, 5, run_id=run_id, step="piece[1]", attempt=1)
    use(owner, 5, run_id=run_id, step="piece[1]", attempt=1, kind="embeddings")
    assert entries() == 4


def test_calls_outside_runs_are_all_metered(app):
    owner = make_user()
    use(owner, 5)
    use(owner, 5)
    assert entries() == 2


def test_usage_survives_the_caller_s_rollback(app):
    owner = make_user()
    use(owner, 5)
    db.session.rollback()
    assert entries() == 1


def test_a_call_within_budget_may_be_made(rules):
    owner = make_user()
    use(owner, 6 * DOLLAR)
    service.ensure_budget(owner.id, 4 * DOLLAR)


def test_a_call_over_budget_is_refused_with_what_to_do(rules):
    owner = make_user()
    use(owner, 6 * DOLLAR)
    with pytest.raises(OverBudget, match=r"Your budget for this month \(\$10.00\).*\$6.00.*administrator"):
        service.ensure_budget(owner.id, 4 * DOLLAR + 1)
    service.ensure_budget(owner.id, 0)


def test_last_month_does_not_count(rules):
    owner = make_user()
    use(owner, 10 * DOLLAR)
    db.session.execute(sa.update(UsageEntry).values(created_at=now() - timedelta(days=32)))
    db.session.commit()
    service.ensure_budget(owner.id, 10 * DOLLAR)


def test_the_whole_instance_has_a_budget(rules):
    alice, bob = make_user("a@example.org"), make_user("b@example.org")
    use(alice, 9 * DOLLAR)
    with pytest.raises(OverBudget, match="whole instance"):
        service.ensure_budget(bob.id, 7 * DOLLAR)
    service.ensure_budget(bob.id, 6 * DOLLAR)


def test_nobody_has_no_budget(rules):
    with pytest.raises(NotFound):
        service.ensure_budget(new_id(), 1)


def test_parallel_calls_cannot_spend_the_same_rest(app, rules):
    owner, run_id = make_user(), new_id()

    def try_one(number):
        with app.app_context():
            try:
                service.ensure_budget(owner.id, 3 * DOLLAR, run_id=run_id, step=f"piece[{number}]")
            except OverBudget:
                return False
            return True

    db.session.rollback()
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(try_one, range(8))) == 3


def test_a_settled_call_gives_the_rest_back(rules):
    owner, run_id = make_user(), new_id()
    service.ensure_budget(owner.id, 9 * DOLLAR, run_id=run_id, step="a")
    service.ensure_budget(owner.id, 9 * DOLLAR, run_id=run_id, step="a")
    with pytest.raises(OverBudget):
        service.ensure_budget(owner.id, 2 * DOLLAR, run_id=run_id, step="b")
    use(owner, 1 * DOLLAR, run_id=run_id, step="a")
    service.ensure_budget(owner.id, 9 * DOLLAR, run_id=run_id, step="b")


def test_what_a_dead_process_set_aside_comes_back(rules):
    owner = make_user()
    service.ensure_budget(owner.id, 9 * DOLLAR, run_id=new_id(), step="a")
    db.session.execute(sa.update(UsageHold).values(expires_at=now()))
    db.session.commit()
    service.ensure_budget(owner.id, 9 * DOLLAR, run_id=new_id(), step="a")


def test_storage_is_counted_over_all_rooms_and_refused_when_full(app):
    owner = make_user()
    kept = app.extensions.pop(STORAGE_COUNTERS, [])
    try:
        service.register_storage(lambda _owner: app.settings.storage_quota_bytes - 100)
        service.register_storage(lambda _owner: 50)
        service.ensure_storage(owner.id, 50)
        with pytest.raises(TooLarge, match="Delete videos"):
            service.ensure_storage(owner.id, 51)
    finally:
        app.extensions[STORAGE_COUNTERS] = kept


def fill_november(owner) -> None:
    use(owner, 120_000, quantity=1200)
    use(owner, 30_000, quantity=300)
    use(owner, 100, kind="embeddings", model="e", unit="tokens", quantity=1000)
    use(owner, 0, kind="chat", model="free", unit="tokens", quantity=7)
    days = [datetime(2025, 11, day, 23, 59, tzinfo=UTC) for day in (3, 4, 4, 30)]
    for entry, when in zip(db.session.scalars(sa.select(UsageEntry).order_by(UsageEntry.id)), days, strict=True):
        entry.created_at = when
    db.session.commit()


def test_the_page_adds_up(alice):
    fill_november(alice.user)
    report = usage_report.make(alice.user.id, "2025-11")
    assert report.spent_microusd == 150_100
    assert [(total.kind, total.quantity, total.calls, total.microusd) for total in report.totals] == [
        ("transcription", 1500, 2, 150_000),
        ("embeddings", 1000, 1, 100),
        ("chat", 7, 1, 0),
    ]
    assert [(bar.day.day, bar.microusd, bar.calls) for bar in report.bars if bar.calls] == [
        (3, 120_000, 1),
        (4, 30_100, 2),
        (30, 0, 1),
    ]
    assert len(report.bars) == 30
    page = alice.get("/account/usage?month=2025-11").text
    assert page.count('<rect class="chart-bar"') == 3
    assert "$0.15" in page
    assert "04 November 2025" in page
    assert "2025-10" in page
    assert "2025-12" in page


def test_other_people_s_usage_is_not_shown(alice, charlie, root):
    fill_november(alice.user)
    for other in (charlie, root):
        assert "Nothing was used in November 2025" in other.get("/account/usage?month=2025-11").text


@pytest.mark.parametrize(
    "month", ["", "x", "2025-13", "2099-01", "0000-00", "2025-11-01", "../../etc", "20\u0662\u0665-01"]
)
def test_a_strange_month_means_this_one(alice, month):
    answer = alice.get("/account/usage", query_string={"month": month})
    assert answer.status_code == 200
    assert f"{now():%B %Y}" in answer.text
