"""Secrets stay out of logs, cookies carry what they must, and people are made once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
import structlog

from app import create_app, log
from app.accounts import service
from app.accounts.models import ApiKey, User, UserSession
from app.db import db
from tests.accounts.mails import all_mails, code_in, link_in
from tests.accounts.pages import ask, press, token
from tests.conftest import Browser


@pytest.fixture
def secure(app, settings):
    """The app as people reach it over https."""
    made = create_app(settings.but(public_url="https://throughline.example"))
    made.testing = True
    made.test_client_class = Browser
    yield made
    with made.app_context():
        db.engine.dispose()


def test_over_https_the_cookie_is_bound_to_this_host(secure):
    answer = secure.test_client().get("/sign-in", base_url="https://throughline.example")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-session=")
    for part in ("Secure", "HttpOnly", "Path=/", "SameSite=Lax"):
        assert part in cookie
    assert "Domain" not in cookie


def test_the_cookie_is_renewed_now_and_then_and_never_with_a_file(alice, execute):
    alice.get("/account")
    with alice.session_transaction() as cookie:
        cookie.permanent = True
    assert "Set-Cookie" not in alice.get("/account").headers
    execute("UPDATE user_session SET last_seen_at = now() - interval '1 day'")
    with alice.get("/static/app.css") as file:
        assert "Set-Cookie" not in file.headers
    assert "Expires" in alice.get("/account").headers["Set-Cookie"]
    assert "Set-Cookie" not in alice.get("/account").headers


def test_signing_in_again_in_one_browser_ends_the_session_before(alice):
    ask_in(alice, "alice@example.org")
    assert db.session.scalar(sa.select(sa.func.count()).select_from(UserSession)) == 1


def ask_in(client, email):
    """Sign in as somebody in a browser where somebody is signed in already (their link, opened there)."""
    started = service.start_sign_in(email, browser="b")
    db.session.commit()
    assert press(client, f"/sign-in/link/{started.link_token}").status_code == 303


def test_a_request_holds_one_connection_at_a_time(app, alice, execute):
    execute("UPDATE user_session SET last_seen_at = now() - interval '1 day'")
    at_once = []
    pool = db.engine.pool

    def note(*_arguments):
        at_once.append(pool.checkedout())

    db.session.rollback()
    sa.event.listen(pool, "checkout", note)
    alice.get("/account")
    sa.event.remove(pool, "checkout", note)
    assert set(at_once) == {1}


def test_links_name_the_public_address_whatever_the_request_says(app, client):
    evil = "http://evil.example"
    form_token = token(client.get("/sign-in", base_url=evil))
    client.post("/sign-in", data={"csrf_token": form_token, "email": "a@example.org"}, base_url=evil)
    assert "evil.example" not in all_mails()[0].text
    assert "http://127.0.0.1:5000/sign-in/link/" in all_mails()[0].text


def test_a_log_holds_neither_link_nor_code_nor_address(client, settings, request):
    request.addfinalizer(lambda: log.configure(settings))
    log.configure(settings.but(log_level="debug"))
    with structlog.testing.capture_logs() as lines:
        ask(client, "alice@example.org")
    mail = all_mails()[0]
    written = str(lines)
    assert "mail.in_outbox" in written
    for secret in (link_in(mail).rpartition("/")[2], code_in(mail), "alice@example.org"):
        assert secret not in written


def test_a_crash_on_the_link_s_page_does_not_log_the_link(app, client, monkeypatch):
    ask(client, "alice@example.org")
    link = link_in(all_mails()[0])

    def crash(_token):
        raise RuntimeError("planted")

    monkeypatch.setattr("app.accounts.queries.find_live_link", crash)
    with structlog.testing.capture_logs() as lines:
        assert client.get(link).status_code == 500
    (line,) = [line for line in lines if line["event"] == "request.crashed"]
    assert line["path"] == "/sign-in/link/<token>"


def test_a_failed_statement_does_not_repeat_its_values(app):
    with pytest.raises(sa.exc.DBAPIError) as caught:
        db.session.execute(sa.text("SELECT 1 / (length(:secret) - length(:secret))"), {"secret": "tl_very_secret"})
    db.session.rollback()
    assert "tl_very_secret" not in str(caught.value)


def test_two_links_of_one_new_person_make_one_account(app):
    browsers = [app.test_client() for _ in range(4)]
    for browser in browsers:
        ask(browser, "new@example.org")
    links = [link_in(mail) for mail in all_mails()]
    db.session.rollback()

    def use(pair):
        with app.app_context():
            return press(*pair).status_code

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(use, zip(browsers, links, strict=True))) == [303] * 4
    assert db.session.scalar(sa.select(sa.func.count()).select_from(User)) == 1


def test_budgets_do_not_wait_for_the_caller_s_own_rows(alice):
    db.session.add(ApiKey(owner_id=alice.user.id, name="n", prefix="p", key_hash="h"))
    db.session.flush()
    service.ensure_budget(alice.user.id, 5)
    service.record_usage(alice.user.id, kind="chat", model="m", quantity=1, unit="tokens", microusd=5)
    db.session.rollback()


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_of_a_key_is_read_in_any_case(client, scheme):
    key = service.create_key("alice@example.org", "k")
    assert client.get("/api/me", headers={"Authorization": f"{scheme} {key}"}).status_code == 200
    answer = client.post("/sign-out", headers={"Authorization": f"{scheme} {key}"})
    assert answer.status_code == 303
