"""What one person may spend and store: set by an administrator, kept to before a call is made, shown to the person."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.accounts import queries, service, usage_report
from app.accounts.service import OverBudget
from app.db import db
from app.errors import NotFound, TooLarge
from app.lib.ids import new_id
from tests.accounts.pages import press
from tests.factories import make_user
from tests.home.test_home import make_video
from tests.test_looks import assert_well_formed

DOLLAR, GB = 1_000_000, 1_000_000_000


@pytest.fixture
def rules(app):
    kept = app.settings
    app.settings = replace(kept, budget_person_microusd=10 * DOLLAR, storage_quota_bytes=5 * GB)
    yield app.settings
    app.settings = kept


def set_limits(root, person, **fields):
    path = f"/admin/people/{person.id}/limits"
    return press(root, path, path, **{"budget": "", "storage": "", **fields})


def limits(person) -> service.Limits:
    db.session.rollback()
    return service.limits_of(queries.find_user(person.id))


def use(person, microusd, **more):
    about = {"kind": "transcription", "model": "m", "quantity": 60, "unit": "seconds", **more}
    service.record_usage(person.id, microusd=microusd, **about)


def test_without_any_the_settings_hold(rules):
    found = limits(make_user())
    assert (found.budget_microusd, found.storage_quota_bytes) == (10 * DOLLAR, 5 * GB)
    assert not found.is_own_budget
    assert not found.is_own_quota
    assert service.limits_of(None) == found


def test_an_administrator_sets_them_and_takes_them_back(rules, root, alice):
    assert set_limits(root, alice.user, budget="$12.50", storage=" 0.5 ").status_code == 303
    found = limits(alice.user)
    assert (found.budget_microusd, found.storage_quota_bytes) == (12_500_000, GB // 2)
    page = root.get(f"/admin/people/{alice.user.id}/limits").text
    assert_well_formed(page)
    assert 'value="12.5"' in page
    assert 'value="0.5"' in page
    set_limits(root, alice.user)
    assert not limits(alice.user).is_own_budget


def test_the_log_says_who_changed_what(rules, root, alice, monkeypatch):
    lines = []
    monkeypatch.setattr("app.accounts.service.limits.logger.info", lambda event, **about: lines.append((event, about)))
    set_limits(root, alice.user, budget="3")
    [(event, about)] = lines
    assert event == "person.limits_changed"
    assert about["by"] == str(root.user.id)
    assert about["user_id"] == str(alice.user.id)
    assert (about["budget_before"], about["budget_microusd"]) == (None, 3 * DOLLAR)


@pytest.mark.parametrize(
    ("field", "typed"),
    [
        *(
            ("budget", typed)
            for typed in ("-1", "nan", "inf", "1e9", "1,000", "12.5.0", "free", "9" * 50, "1000001", "٣", "0x10")
        ),
        *(("storage", typed) for typed in ("-0.1", "100001", "50 GB", "NaN", "1" * 13)),
    ],
)
def test_what_is_no_amount_is_refused_with_a_sentence_and_changes_nothing(rules, root, alice, field, typed):
    answer = set_limits(root, alice.user, **{field: typed})
    assert answer.status_code == 422
    assert_well_formed(answer.text)
    assert "field-error" in answer.text
    assert not limits(alice.user).is_own_budget
    assert not limits(alice.user).is_own_quota


def test_half_a_form_is_not_half_done(rules, root, alice):
    assert set_limits(root, alice.user, budget="5", storage="much").status_code == 422
    assert not limits(alice.user).is_own_budget


def test_nobody_but_an_administrator_sets_any(rules, alice, charlie):
    path = f"/admin/people/{alice.user.id}/limits"
    for person in (alice, charlie):
        assert press(person, "/account", path, budget="999", storage="").status_code == 404
    assert not limits(alice.user).is_own_budget


def test_of_nobody_there_are_none(rules, root):
    for identity in (new_id(), "made-up"):
        assert root.get(f"/admin/people/{identity}/limits").status_code == 404
    with pytest.raises(NotFound):
        service.change_limits(new_id(), by=root.user.id, budget_microusd=1, storage_quota_bytes=None)


def test_a_person_s_own_budget_counts_before_the_usual_one(rules, root, alice, charlie):
    set_limits(root, alice.user, budget="2")
    set_limits(root, charlie.user, budget="20")
    db.session.rollback()
    with pytest.raises(OverBudget, match=r"Your budget for this month \(\$2.00\).*then retry"):
        service.ensure_budget(alice.user.id, 3 * DOLLAR)
    service.ensure_budget(charlie.user.id, 15 * DOLLAR)
    set_limits(root, alice.user, budget="0")
    with pytest.raises(OverBudget):
        service.ensure_budget(alice.user.id, 1)


def test_a_budget_that_is_raised_holds_at_once(rules, alice):
    """Also in a worker that has seen the person before."""
    alice.user.budget_microusd = DOLLAR
    db.session.commit()
    with pytest.raises(OverBudget):
        service.ensure_budget(alice.user.id, 2 * DOLLAR)
    service.change_limits(alice.user.id, by=alice.user.id, budget_microusd=3 * DOLLAR, storage_quota_bytes=None)
    db.session.commit()
    service.ensure_budget(alice.user.id, 2 * DOLLAR)


def test_a_person_s_own_room_counts_before_the_usual_one(rules, root, alice, monkeypatch):
    monkeypatch.setattr("app.accounts.service.usage.storage_used", lambda _owner: 6 * GB)
    with pytest.raises(TooLarge, match="ask an administrator"):
        service.ensure_storage(alice.user.id, 1)
    set_limits(root, alice.user, storage="7")
    service.ensure_storage(alice.user.id, GB)
    with pytest.raises(TooLarge, match=r"6.0 of 7.0 GB"):
        service.ensure_storage(alice.user.id, GB + 1)


def test_the_person_reads_their_own_limits(rules, root, alice):
    make_video(alice.user.id)
    set_limits(root, alice.user, budget="80", storage="7")
    for page in ("/account/usage", "/"):
        text = alice.get(page).text
        assert "of $80.00" in text
        assert "of 7.0 GB" in text


def test_whoever_comes_near_a_limit_is_told_what_to_do(rules, alice):
    use(alice.user, 7_900_000)
    assert usage_report.make(alice.user.id).warnings == []
    use(alice.user, 100_000)
    make_video(alice.user.id)
    for page in ("/account/usage", "/"):
        text = alice.get(page).text
        assert "$8.00 of $10.00 are spent this month" in text
        assert "An administrator can raise it" in text
    before = usage_report.make(alice.user.id).previous
    assert "are spent this month" not in alice.get(f"/account/usage?month={before}").text


def test_a_full_storage_is_told_of(rules, alice, monkeypatch):
    monkeypatch.setattr("app.accounts.usage_report.storage_used", lambda _owner: 4_500_000_000)
    assert "4.5 GB of 5.0 GB are stored" in alice.get("/account/usage").text


def test_an_instance_that_costs_nothing_says_so(rules, alice):
    assert "Nothing has cost anything" in alice.get("/account/usage").text
    use(alice.user, 0)
    text = alice.get("/account/usage").text
    assert "What was used, below, was free" in text
    assert ">free<" in text
