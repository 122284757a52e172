"""The administrator's usage page and the CSV files: they add up, and show nobody what is not theirs."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from app.accounts import service, usage_csv, usage_instance
from app.accounts.models import UsageEntry, UsageHold
from app.db import db
from app.lib.clock import now
from app.lib.ids import new_id
from tests.factories import make_user
from tests.test_looks import assert_well_formed

DOLLAR = 1_000_000


@pytest.fixture
def rules(app):
    kept = app.settings
    app.settings = replace(kept, budget_person_microusd=10 * DOLLAR, budget_instance_microusd=20 * DOLLAR)
    yield app.settings
    app.settings = kept


def use(person, microusd, **more):
    about = {"kind": "transcription", "model": "m", "quantity": 60, "unit": "seconds", **more}
    service.record_usage(person.id, microusd=microusd, **about)


def read(answer) -> list[dict[str, str]]:
    assert answer.status_code == 200
    assert answer.mimetype == "text/csv"
    return list(csv.DictReader(io.StringIO(answer.get_data(as_text=True))))


def test_everybody_s_month_adds_up(rules, root, alice, charlie):
    use(alice.user, 3 * DOLLAR)
    use(alice.user, 100, kind="embeddings", model="e", unit="tokens", quantity=1000)
    use(charlie.user, DOLLAR)
    service.ensure_budget(charlie.user.id, 2 * DOLLAR, run_id=new_id(), step="a")
    report = usage_instance.make()
    assert report.spent_microusd == 4 * DOLLAR + 100
    assert report.held_microusd == 2 * DOLLAR
    assert report.left_microusd == 14 * DOLLAR - 100
    assert [(line.email, line.calls, line.microusd) for line in report.people] == [
        ("alice@example.org", 2, 3 * DOLLAR + 100),
        ("charlie@example.org", 1, DOLLAR),
        ("root@example.org", 0, 0),
    ]
    assert sum(line.microusd for line in report.people) == report.spent_microusd
    assert sum(bar.microusd for bar in report.bars) == report.spent_microusd
    page = root.get("/admin/usage").text
    assert_well_formed(page)
    assert "$14.00" in page
    assert f"/admin/people/{alice.user.id}/limits" in page


def test_what_a_killed_process_held_comes_back(rules, root):
    service.ensure_budget(make_user().id, 9 * DOLLAR, run_id=new_id(), step="a")
    assert usage_instance.held() == 9 * DOLLAR
    db.session.execute(sa.update(UsageHold).values(expires_at=now()))
    db.session.commit()
    assert usage_instance.held() == 0


def test_what_a_run_that_ended_held_comes_back_at_once(rules):
    person, run_id = make_user(), new_id()
    service.ensure_budget(person.id, DOLLAR, run_id=run_id, step="a")
    service.ensure_budget(person.id, DOLLAR, run_id=new_id(), step="a")
    service.give_back(run_id)
    db.session.commit()
    assert usage_instance.held() == DOLLAR


def test_whoever_pays_for_all_is_told_when_little_is_left(rules, root, alice):
    use(alice.user, 16 * DOLLAR)
    page = root.get("/admin/usage").text
    assert "BUDGET_INSTANCE_MICROUSD" in page
    assert "of this instance" in page


def test_a_month_gone_by_holds_nothing(rules, root, alice):
    use(alice.user, DOLLAR)
    service.ensure_budget(alice.user.id, DOLLAR, run_id=new_id(), step="a")
    db.session.execute(sa.update(UsageEntry).values(created_at=datetime(2025, 11, 30, 23, 59, tzinfo=UTC)))
    db.session.commit()
    report = usage_instance.make("2025-11")
    assert (report.spent_microusd, report.held_microusd) == (DOLLAR, 0)
    assert "Held now" not in root.get("/admin/usage?month=2025-11").text
    assert usage_instance.make().spent_microusd == 0


def test_people_are_found_by_name(rules, root, alice, charlie):
    page = root.get("/admin/usage?q=CHARL").text
    assert "charlie@example.org" in page
    assert "alice@example.org" not in page
    assert "Nobody like that" in root.get("/admin/usage?q=%25_").text


def test_one_s_own_entries_as_csv(rules, alice, charlie):
    run_id = new_id()
    use(alice.user, 1_234_567, run_id=run_id, step="runs/1/piece-0")
    use(alice.user, 0, model="=cmd|' /C calc'!A0")
    use(charlie.user, 9)
    rows = read(alice.get("/account/usage.csv"))
    assert [(row["usd"], row["quantity"], row["unit"]) for row in rows] == [
        ("1.234567", "60.0", "seconds"),
        ("0.000000", "60.0", "seconds"),
    ]
    assert rows[0]["run"] == str(run_id)
    assert rows[1]["model"].startswith("'="), "no table program may take it for a formula"
    datetime.strptime(rows[0]["time"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    answer = alice.get("/account/usage.csv")
    assert answer.headers["Content-Disposition"] == "attachment; filename=usage-all.csv"
    assert len(read(charlie.get("/account/usage.csv"))) == 1


def test_one_month_of_one_s_entries_as_csv(rules, alice):
    use(alice.user, 1)
    use(alice.user, 2)
    first = db.session.scalars(sa.select(UsageEntry).order_by(UsageEntry.id)).first()
    first.created_at = now() - timedelta(days=70)
    db.session.commit()
    assert len(read(alice.get("/account/usage.csv"))) == 2
    assert len(read(alice.get(f"/account/usage.csv?month={now():%Y-%m}"))) == 1


def test_many_entries_are_streamed_in_parts(rules, alice, monkeypatch):
    monkeypatch.setattr(usage_csv, "ROWS_AT_ONCE", 10)
    for _ in range(35):
        use(alice.user, 1)
    parts = list(usage_csv.entries(alice.user.id))
    assert len(parts) == 1 + 4
    assert len(read(alice.get("/account/usage.csv"))) == 35


def test_the_sums_of_everybody_as_csv(rules, root, alice, charlie):
    use(alice.user, 3 * DOLLAR)
    use(alice.user, DOLLAR)
    use(charlie.user, 100, kind="embeddings", model="e", unit="tokens", quantity=1000)
    rows = read(root.get("/admin/usage.csv"))
    assert [(row["person"], row["kind"], row["calls"], row["quantity"], row["usd"]) for row in rows] == [
        ("alice@example.org", "transcription", "2", "120.0", "4.000000"),
        ("charlie@example.org", "embeddings", "1", "1000.0", "0.000100"),
    ]
    assert {row["month"] for row in rows} == {f"{now():%Y-%m}"}
