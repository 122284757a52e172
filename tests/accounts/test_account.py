"""The pages of one's own account."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import sqlalchemy as sa

from app.accounts import queries, service
from app.accounts.models import ApiKey, UserSession
from app.db import db
from app.errors import NotFound
from app.lib.clock import now
from tests.accounts.pages import press
from tests.factories import sign_in

PAGES = ["/account", "/account/sessions", "/account/keys", "/account/usage", "/account/notices"]


@pytest.mark.parametrize("page", PAGES)
def test_nobody_is_sent_to_sign_in(client, page):
    assert client.get(page).location == f"/sign-in?next={page}"


@pytest.mark.parametrize("page", PAGES)
def test_people_see_their_own_and_nobody_else_s(alice, charlie, root, page):
    service.create_key("alice@example.org", "Alices key")
    db.session.commit()
    shown = alice.get(page)
    assert shown.status_code == 200
    assert shown.headers["Cache-Control"] == "no-store"
    for other in (charlie, root):
        theirs = other.get(page)
        assert theirs.status_code == 200
        assert "alice" not in theirs.text.lower()


@pytest.mark.parametrize("page", PAGES)
def test_a_key_is_no_way_into_the_account(alice, client, page):
    key = service.create_key("alice@example.org", "k")
    headers = {"Authorization": f"Bearer {key}"}
    assert client.get(page, headers=headers).status_code == 403
    assert client.post("/account/keys", data={"name": "another"}, headers=headers).status_code == 403
    assert client.post("/account/sessions/revoke-all", headers=headers).status_code == 403


@pytest.mark.parametrize(
    "address",
    [
        "/account",
        "/account/sessions/revoke-all",
        "/account/keys",
        "/account/notices",
        "/account/keys/01a202ae-b34a-728f-964f-a02fa6e0082a/revoke",
    ],
)
def test_posts_need_a_form_token(alice, address):
    assert alice.post(address).status_code == 400


def test_name_and_colours_are_saved_and_go_with_the_person(app, alice):
    assert press(alice, "/account", name="  Alice   Liddell ", theme="dark").status_code == 303
    db.session.refresh(alice.user)
    assert (alice.user.name, alice.user.theme) == ("Alice Liddell", "dark")
    page = alice.get("/account").text
    assert 'data-theme="dark"' in page
    assert "Alice Liddell" in page


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [({"name": "x" * 201, "theme": "dark"}, "at most 200"), ({"name": "x", "theme": "pink"}, "system, light or dark")],
)
def test_a_bad_profile_is_said_beside_its_field(alice, fields, sentence):
    answer = press(alice, "/account", **fields)
    assert answer.status_code == 422
    assert sentence in answer.text


def test_hostile_names_are_shown_as_text(alice):
    press(alice, "/account", name="<script>alert(1)</script>", theme="system")
    assert "<script>alert" not in alice.get("/account").text


def session_ids(user) -> list[str]:
    return [str(row.id) for row in queries.list_sessions(user.id)]


def test_a_session_is_ended_from_another_browser(app, alice):
    other = sign_in(app.test_client(), alice.user)
    assert other.get("/account").status_code == 200
    page = alice.get("/account/sessions").text
    assert page.count("This browser") == 1
    action = re.search(r'action="(/account/sessions/[^"]+/revoke)"', page)[1]
    assert press(alice, "/account/sessions", action).status_code == 303
    assert other.get("/account").status_code == 302
    assert alice.get("/account").status_code == 200


def test_strangers_cannot_end_a_session(alice, charlie, root):
    for other in (charlie, root):
        address = f"/account/sessions/{session_ids(alice.user)[0]}/revoke"
        assert press(other, "/account/sessions", address).status_code == 404
        assert press(other, "/account/sessions", "/account/sessions/nonsense/revoke").status_code == 404
    assert alice.get("/account").status_code == 200


def test_signing_out_everywhere_ends_all_sessions(app, alice, charlie):
    other = sign_in(app.test_client(), alice.user)
    press(alice, "/account/sessions", "/account/sessions/revoke-all")
    assert alice.get("/account").status_code == 302
    assert other.get("/account").status_code == 302
    assert charlie.get("/account").status_code == 200


def test_a_session_ends_after_its_days(alice, settings):
    db.session.execute(
        sa.update(UserSession).values(last_seen_at=now() - timedelta(days=settings.session_days, minutes=1))
    )
    assert alice.get("/account").status_code == 302


def test_a_session_in_use_lives_on(alice):
    old = now() - timedelta(days=20)
    db.session.execute(sa.update(UserSession).values(last_seen_at=old))
    alice.get("/account")
    assert db.session.scalars(sa.select(UserSession.last_seen_at)).one() > old


@pytest.mark.parametrize("value", ["", ".", "x.y", "not-a-uuid.secret", "\x00.\x00", "0" * 5000])
def test_a_forged_cookie_is_nobody(alice, value):
    assert queries.find_by_session(value) is None
    assert queries.find_by_session(f"{alice.user.id}.{value}") is None


def test_a_session_is_nobody_else_s(alice, charlie):
    with alice.session_transaction() as cookie:
        secret = cookie["_user_id"].partition(".")[2]
    assert queries.find_by_session(f"{alice.user.id}.{secret}").id == alice.user.id
    assert queries.find_by_session(f"{charlie.user.id}.{secret}") is None


def test_the_database_does_not_hold_the_session_secret(alice):
    with alice.session_transaction() as cookie:
        secret = cookie["_user_id"].partition(".")[2]
    row = db.session.scalars(sa.select(UserSession)).one()
    assert secret not in str(vars(row))


def bearer(client, key, path="/api/me"):
    return client.get(path, headers={"Authorization": f"Bearer {key}"})


def test_a_key_is_shown_once_and_then_works(alice, client):
    made = press(alice, "/account/keys", name="Nightly")
    assert made.status_code == 201
    assert made.headers["Cache-Control"] == "no-store"
    key = re.search(r"tl_[\w-]{43}", made.text)[0]
    assert bearer(client, key).json["email"] == "alice@example.org"
    page = alice.get("/account/keys").text
    assert key not in page
    assert key[:9] in page
    row = db.session.scalars(sa.select(ApiKey)).one()
    assert key not in str(vars(row))
    assert row.last_used_at is not None


def test_a_revoked_key_is_nobody(alice, client):
    key = service.create_key("alice@example.org", "k")
    db.session.commit()
    key_id = queries.list_keys(alice.user.id)[0].id
    assert press(alice, "/account/keys", f"/account/keys/{key_id}/revoke").status_code == 303
    answer = bearer(client, key)
    assert answer.status_code == 401
    assert answer.json["error"] == "unauthenticated"
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "No keys yet" in alice.get("/account/keys").text


def test_strangers_cannot_revoke_a_key(alice, charlie, root, client):
    key = service.create_key("alice@example.org", "k")
    key_id = queries.list_keys(alice.user.id)[0].id
    db.session.commit()
    for other in (charlie, root):
        assert press(other, "/account/keys", f"/account/keys/{key_id}/revoke").status_code == 404
    assert bearer(client, key).status_code == 200
    with pytest.raises(NotFound):
        service.revoke_key(charlie.user.id, key_id)


@pytest.mark.parametrize("key", ["", "tl_", "tl_" + "x" * 43, "\x7f", "é" * 20, "a b c"])
def test_a_wrong_key_is_401(client, key):
    assert (
        client.get("/api/me", headers={"Authorization": f"Bearer {key}".encode().decode("latin-1")}).status_code == 401
    )
    assert client.get("/api/me").status_code == 401


def test_a_wrong_key_beside_a_good_cookie_is_401(alice):
    assert bearer(alice, "tl_wrong").status_code == 401
    answer = alice.post("/account/sessions/revoke-all", headers={"Authorization": "Bearer tl_wrong"})
    assert answer.location.startswith("/sign-in")
    assert alice.get("/account").status_code == 200


def test_a_closed_account_s_keys_and_sessions_are_nobody(alice, client):
    key = service.create_key("alice@example.org", "k")
    alice.user.is_disabled = True
    db.session.commit()
    assert bearer(client, key).status_code == 401
    assert alice.get("/account").status_code == 302


def test_a_key_can_be_made_for_somebody_new(client):
    key = service.create_key("New@Example.org", "cli")
    assert bearer(client, key).json["email"] == "new@example.org"


@pytest.mark.parametrize(("name", "sentence"), [("", "what it is for"), ("   ", "what it is for")])
def test_a_key_without_a_name_is_refused(alice, name, sentence):
    answer = press(alice, "/account/keys", name=name)
    assert answer.status_code == 422
    assert sentence in answer.text


def test_there_is_an_end_to_keys(alice):
    for number in range(50):
        service.create_key("alice@example.org", f"k{number}")
    db.session.commit()
    answer = press(alice, "/account/keys", name="one more")
    assert answer.status_code == 422
    assert "50 is the most" in answer.text
