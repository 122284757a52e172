"""Who may come in: SIGNUP, invitations, administrators, the printed link."""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa

from app.accounts import service
from app.accounts.models import Invitation, User
from app.db import db
from app.lib.ids import new_id
from tests.accounts.mails import all_mails, link_in
from tests.accounts.pages import ask, press
from tests.factories import make_user


@pytest.fixture
def rules(app):
    """Change settings of the running app for one test."""
    kept = app.settings

    def change(**changes):
        app.settings = replace(app.settings, **changes)

    yield change
    app.settings = kept


def comes_in(client, email) -> bool:
    before = len(all_mails())
    answer = ask(client, email)
    assert answer.status_code == 303
    if len(all_mails()) == before:
        return False
    return press(client, link_in(all_mails()[-1])).status_code == 303


def test_by_invitation_only(app, rules, root):
    rules(signup="invite")
    assert not comes_in(app.test_client(), "alice@example.org")
    assert press(root, "/admin/people", "/admin/people/invite", email="Alice@example.org").status_code == 303
    mail = all_mails()[-1]
    assert mail.to == "alice@example.org"
    assert "/sign-in?email=alice@example.org" in mail.text
    assert comes_in(app.test_client(), "alice@example.org")
    assert db.session.scalars(sa.select(Invitation)).one().accepted_at is not None
    make_user("known@example.org")
    assert comes_in(app.test_client(), "known@example.org")


def test_only_addresses_of_the_allowed_domains(app, rules):
    rules(signup="domains", allowed_email_domains=("example.com",))
    assert comes_in(app.test_client(), "a@example.com")
    assert not comes_in(app.test_client(), "a@sub.example.com")
    assert not comes_in(app.test_client(), "a@notexample.com")
    assert not comes_in(app.test_client(), "a@example.com.evil.example")
    assert comes_in(app.test_client(), "root@example.org"), "an administrator by setting may always come in"


def test_a_withdrawn_invitation_lets_nobody_in(app, rules, root):
    rules(signup="invite")
    invitation = service.invite("alice@example.org", root.user.id)
    db.session.commit()
    ask(client := app.test_client(), "alice@example.org")
    link = link_in(all_mails()[-1])
    assert press(root, "/admin/people", f"/admin/invitations/{invitation.id}/withdraw").status_code == 303
    assert press(client, link).status_code == 410
    assert not comes_in(app.test_client(), "alice@example.org")


def test_inviting_twice_writes_once(root):
    for _ in range(2):
        press(root, "/admin/people", "/admin/people/invite", email="alice@example.org")
    assert len(all_mails()) == 1


@pytest.mark.parametrize(
    ("email", "sentence"), [("nobody", "name@example.org"), ("root@example.org", "has an account")]
)
def test_a_bad_invitation_is_said_beside_the_field(root, email, sentence):
    answer = press(root, "/admin/people", "/admin/people/invite", email=email)
    assert answer.status_code == 422
    assert sentence in answer.text


POSTS = ["/admin/people/invite", f"/admin/people/{new_id()}/disable", f"/admin/invitations/{new_id()}/withdraw"]


def test_for_everybody_but_administrators_there_is_nothing(alice, client):
    assert alice.get("/admin/people").status_code == 404
    for address in POSTS:
        assert press(alice, "/account", address, email="x@example.org").status_code == 404
    assert client.get("/admin/people").location == "/sign-in?next=/admin/people"
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Invitation)) == 0


def test_an_administrator_s_key_does_not_open_the_page(root, client):
    key = service.create_key("root@example.org", "k")
    assert client.get("/admin/people", headers={"Authorization": f"Bearer {key}"}).status_code == 403


def test_unknown_people_are_404(root):
    for address in [*POSTS[1:], "/admin/people/nonsense/disable", f"/admin/people/{new_id()}/explode"]:
        assert press(root, "/admin/people", address).status_code == 404


def test_closing_and_opening_an_account(root, alice):
    address = f"/admin/people/{alice.user.id}"
    assert press(root, "/admin/people", f"{address}/disable").status_code == 303
    assert alice.get("/account").status_code == 302
    assert "Closed" in root.get("/admin/people").text
    press(root, "/admin/people", f"{address}/enable")
    assert alice.get("/account").status_code == 302, "old sessions stay ended"
    assert not db.session.get(User, alice.user.id).is_disabled


def test_making_and_unmaking_an_administrator(root, alice):
    address = f"/admin/people/{alice.user.id}"
    press(root, "/admin/people", f"{address}/promote")
    assert alice.get("/admin/people").status_code == 200
    press(root, "/admin/people", f"{address}/demote")
    assert alice.get("/admin/people").status_code == 404


def test_nobody_locks_themselves_or_the_administrator_by_setting_out(root, alice):
    alice.user.is_admin = True
    db.session.commit()
    for change in ("disable", "demote"):
        press(root, "/admin/people", f"/admin/people/{root.user.id}/{change}")
        press(alice, "/admin/people", f"/admin/people/{root.user.id}/{change}")
    db.session.refresh(root.user)
    assert (root.user.is_admin, root.user.is_disabled) == (True, False)
    assert "ADMIN_EMAILS" in alice.get("/admin/people").text


def test_people_are_found_by_a_part_of_their_address(root, alice, charlie):
    page = root.get("/admin/people?q=ali").text
    assert "alice@example.org" in page
    assert "charlie@example.org" not in page
    assert "Nobody like that" in root.get("/admin/people?q=%25").text


def test_everybody_is_listed_a_page_at_a_time_and_found_by_address(root, execute):
    execute(
        'INSERT INTO "user" (id, email, name, is_admin, is_disabled, created_at, theme) '
        "SELECT gen_random_uuid(), 'person-' || n || '@example.org', '', false, false, now(), 'system' "
        "FROM generate_series(1, 220) n"
    )
    seen, address = [], "/admin/people"
    while address:
        page = root.get(address).text
        seen += re.findall(r'id="person-([0-9a-f-]{36})"', page)
        found = re.search(r'href="([^"]+)" rel="next"', page)
        address = found and found[1].replace("&amp;", "&")
    assert len(set(seen)) == len(seen) == 221
    assert "person-217@example.org" in root.get("/admin/people?q=Person-217@").text
    assert "q=person" in root.get("/admin/people?q=person").text.partition('rel="next"')[0].rpartition("href=")[2]
    assert root.get("/admin/people?before=nonsense").status_code == 200


def test_the_printed_link_makes_and_signs_in_the_administrator(app, rules):
    rules(admin_emails=())
    link = service.administrator_link("http://127.0.0.1:5000/")
    db.session.commit()
    assert link.startswith("http://127.0.0.1:5000/sign-in/link/")
    browser = app.test_client()
    assert press(browser, urlsplit(link).path).status_code == 303
    assert browser.get("/api/me").json == {
        "id": str(db.session.scalars(sa.select(User.id)).one()),
        "email": "admin@localhost",
        "name": "",
        "is_admin": True,
    }
    assert app.test_client().get(urlsplit(link).path).status_code == 410


def test_the_printed_link_is_for_the_first_of_admin_emails(app, rules):
    rules(signup="invite", admin_emails=("boss@example.org", "root@example.org"))
    link = service.administrator_link("http://127.0.0.1:5000")
    db.session.commit()
    browser = app.test_client()
    press(browser, urlsplit(link).path)
    assert browser.get("/api/me").json["email"] == "boss@example.org"


def test_the_printed_link_works_where_only_invited_people_come_in(app, rules):
    rules(signup="invite", admin_emails=())
    link = service.administrator_link()
    db.session.commit()
    browser = app.test_client()
    assert press(browser, urlsplit(link).path).status_code == 303
    assert comes_in(app.test_client(), "admin@localhost")
