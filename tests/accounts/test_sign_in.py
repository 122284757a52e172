"""Signing in by link and code."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa

from app.accounts.models import SignInToken, User, UserSession
from app.adapters.mailer import FakeMailer
from app.db import db
from app.lib.clock import now
from tests.accounts.mails import all_mails, code_in, link_in
from tests.accounts.pages import ask, press, token
from tests.factories import make_user


def who(client) -> str | None:
    answer = client.get("/api/me")
    return answer.json["email"] if answer.status_code == 200 else None


def test_a_new_person_signs_in_by_the_link(client):
    answer = ask(client, "Alice@Example.org")
    assert (answer.status_code, answer.location) == (303, "/sign-in/code")
    assert "Check your e-mail" in client.get("/sign-in/code").text
    link = link_in(all_mails()[0])
    page = client.get(link)
    assert "Sign in as alice@example.org?" in page.text
    assert page.headers["Cache-Control"] == "no-store"
    answer = client.post(link, data={"csrf_token": token(page)})
    assert (answer.status_code, answer.location, answer.headers["Cache-Control"]) == (303, "/", "no-store")
    assert who(client) == "alice@example.org"


def test_looking_at_the_link_uses_nothing_up(client):
    ask(client, "alice@example.org")
    link = link_in(all_mails()[0])
    for _ in range(5):
        assert client.get(link).status_code == 200
        assert client.head(link).status_code == 200
    assert press(client, link).status_code == 303


def test_a_link_works_once(client):
    ask(client, "alice@example.org")
    link = link_in(all_mails()[0])
    assert press(client, link).status_code == 303
    again = client.get(link)
    assert again.status_code == 410
    assert "no longer works" in again.text


def test_of_eight_parallel_posts_of_one_link_exactly_one_wins(app, client):
    ask(client, "alice@example.org")
    link = link_in(all_mails()[0])
    db.session.rollback()
    browsers = []
    for _ in range(8):
        browser = app.test_client()
        browsers.append((browser, token(browser.get(link))))

    def post(one):
        browser, form_token = one
        with app.app_context():
            return browser.post(link, data={"csrf_token": form_token}).status_code

    with ThreadPoolExecutor(8) as pool:
        answers = sorted(pool.map(post, browsers))
    assert answers == [303] + [410] * 7
    assert db.session.scalar(sa.select(sa.func.count()).select_from(UserSession)) == 1


def test_an_old_link_is_refused(client):
    ask(client, "alice@example.org")
    link = link_in(all_mails()[0])
    page = client.get(link)
    db.session.execute(sa.update(SignInToken).values(expires_at=now() - timedelta(seconds=1)))
    assert client.post(link, data={"csrf_token": token(page)}).status_code == 410
    assert who(client) is None


def test_links_live_fifteen_minutes(client):
    ask(client, "alice@example.org")
    row = db.session.scalars(sa.select(SignInToken)).one()
    assert row.expires_at - row.created_at == pytest.approx(timedelta(minutes=15), abs=timedelta(seconds=1))


def test_a_made_up_link_is_refused(client):
    assert client.get("/sign-in/link/" + "x" * 43).status_code == 410
    assert client.get("/sign-in/link/%00%ff'--").status_code == 410


def test_a_post_without_the_form_token_is_refused(client):
    ask(client, "alice@example.org")
    link = link_in(all_mails()[0])
    assert client.post(link).status_code == 400
    assert client.post("/sign-in", data={"email": "a@example.org"}).status_code == 400
    assert press(client, link).status_code == 303


def test_the_link_in_another_browser_says_so_and_works(app, client):
    ask(client, "alice@example.org")
    link = link_in(all_mails()[0])
    other = app.test_client()
    assert "asked for in another browser" in other.get(link).text
    assert "asked for in another browser" not in client.get(link).text
    assert press(other, link).status_code == 303
    assert who(other) == "alice@example.org"
    assert who(client) is None


def test_the_code_signs_in_the_browser_that_asked(client):
    ask(client, "alice@example.org")
    code = code_in(all_mails()[0])
    answer = press(client, "/sign-in/code", code=f" {code[:3]}-{code[3:]} ")
    assert answer.status_code == 303
    assert who(client) == "alice@example.org"


def test_the_code_is_worthless_in_another_browser(app, client):
    ask(client, "alice@example.org")
    code = code_in(all_mails()[0])
    other = app.test_client()
    assert other.get("/sign-in/code").status_code == 302
    ask(other, "alice@example.org")
    assert press(other, "/sign-in/code", code=code).status_code == 422
    assert who(other) is None


def test_using_the_link_ends_the_code_and_the_other_way_round(app, client):
    ask(client, "alice@example.org")
    mail = all_mails()[0]
    page = client.get("/sign-in/code")
    assert press(app.test_client(), link_in(mail)).status_code == 303
    assert client.post("/sign-in/code", data={"csrf_token": token(page), "code": code_in(mail)}).status_code == 422


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


def test_after_five_wrong_codes_the_right_one_is_refused_and_the_link_still_works(client):
    ask(client, "alice@example.org")
    mail = all_mails()[0]
    for _ in range(5):
        assert press(client, "/sign-in/code", code=wrong(code_in(mail))).status_code == 422
    assert press(client, "/sign-in/code", code=code_in(mail)).status_code == 422
    assert who(client) is None
    assert press(client, link_in(mail)).status_code == 303


def test_four_wrong_codes_are_forgiven(client):
    ask(client, "alice@example.org")
    code = code_in(all_mails()[0])
    for _ in range(4):
        press(client, "/sign-in/code", code=wrong(code))
    assert press(client, "/sign-in/code", code=code).status_code == 303


def test_a_slip_that_is_no_code_is_not_counted(client):
    ask(client, "alice@example.org")
    code = code_in(all_mails()[0])
    for slip in ("", "12345", "1234567", "12345a", "١٢٣٤٥٦", "x" * 5000):
        assert press(client, "/sign-in/code", code=slip).status_code == 422
    assert press(client, "/sign-in/code", code=code).status_code == 303


def test_twenty_parallel_guesses_get_five_comparisons(app, client):
    ask(client, "alice@example.org")
    code = code_in(all_mails()[0])
    form_token = token(client.get("/sign-in/code"))
    cookie = client.get_cookie("session").value
    db.session.rollback()

    def guess(_number):
        with app.app_context():
            browser = app.test_client()
            browser.set_cookie("session", cookie)
            return browser.post("/sign-in/code", data={"csrf_token": form_token, "code": wrong(code)}).status_code

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(guess, range(20))) == {422}
    assert db.session.scalars(sa.select(SignInToken.tries)).one() == 5


def test_many_mails_do_not_give_more_than_a_day_s_worth_of_guesses(app):
    right = []
    for _ in range(6):
        browser = app.test_client()
        ask(browser, "alice@example.org")
        code = code_in(all_mails()[-1])
        for _ in range(5):
            press(browser, "/sign-in/code", code=wrong(code))
        right.append(all_mails()[-1])
    fresh = app.test_client()
    ask(fresh, "alice@example.org")
    mail = all_mails()[-1]
    assert press(fresh, "/sign-in/code", code=code_in(mail)).status_code == 422
    assert press(fresh, link_in(mail)).status_code == 303


def test_the_database_holds_neither_link_nor_code(client):
    ask(client, "alice@example.org")
    mail = all_mails()[0]
    row = db.session.scalars(sa.select(SignInToken)).one()
    kept = " ".join(str(value) for value in vars(row).values())
    secret = link_in(mail).rpartition("/")[2]
    assert secret not in kept
    assert code_in(mail) not in kept
    assert row.code_hash != hashlib.sha256(code_in(mail).encode()).hexdigest()


def test_the_answer_is_the_same_whoever_asks(app, client):
    make_user("known@example.org")
    closed = make_user("closed@example.org")
    closed.is_disabled = True
    db.session.commit()
    pages = set()
    for email in ("known@example.org", "new@example.org", "closed@example.org"):
        browser = app.test_client()
        answer = ask(browser, email)
        assert (answer.status_code, answer.location) == (303, "/sign-in/code")
        shown = (
            browser.get("/sign-in/code").text.replace(email, "EMAIL").replace(token(browser.get("/sign-in/code")), "T")
        )
        pages.add(shown.replace(email.replace("@", "%40"), "EMAIL"))
    assert len(pages) == 1
    assert {mail.to for mail in all_mails()} == {"known@example.org", "new@example.org"}


def statements_of(action) -> str:
    """What a request says to the database, by its verbs."""
    found: list[list[str]] = []

    def note(*arguments):
        found.append(arguments[2].split(None, 2)[:2])

    sa.event.listen(db.engine, "before_cursor_execute", note)
    action()
    sa.event.remove(db.engine, "before_cursor_execute", note)
    return str(found)


def test_the_same_statements_run_whoever_asks(app):
    app.extensions["throughline.mailer"], kept = FakeMailer(), app.extensions["throughline.mailer"]
    make_user("known@example.org")
    make_user("closed@example.org").is_disabled = True
    db.session.commit()
    found = set()
    for email in ("known@example.org", "new@example.org", "closed@example.org"):
        browser = app.test_client()
        data = {"csrf_token": token(browser.get("/sign-in")), "email": email}
        found.add(statements_of(lambda browser=browser, data=data: browser.post("/sign-in", data=data)))
    app.extensions["throughline.mailer"] = kept
    assert len(found) == 1


@pytest.mark.parametrize("text", ["", "nobody", "a@b", "a b@c.de", "a@b.de\r\nBcc: x@y.de", "@", "a" * 400 + "@b.de"])
def test_what_is_no_address_is_said_beside_the_field(client, text):
    answer = ask(client, text)
    assert answer.status_code == 422
    assert "name@example.org" in answer.text
    assert all_mails() == []


def test_a_closed_account_cannot_come_in_even_with_a_link_sent_before(client):
    user = make_user("alice@example.org")
    ask(client, "alice@example.org")
    user.is_disabled = True
    db.session.commit()
    assert press(client, link_in(all_mails()[0])).status_code == 410
    assert who(client) is None


def test_signing_in_makes_a_new_session(client):
    with client.session_transaction() as before:
        before["planted"] = "by an attacker"
    ask(client, "alice@example.org")
    old_token = token(client.get("/sign-in/code"))
    press(client, link_in(all_mails()[0]))
    with client.session_transaction() as after:
        assert "planted" not in after
        assert "sign_in_browser" not in after
        assert after.permanent
    assert client.post("/sign-out", data={"csrf_token": old_token}).status_code == 400


def test_signing_out_ends_the_session_for_a_copied_cookie_too(app, client):
    ask(client, "alice@example.org")
    press(client, link_in(all_mails()[0]))
    thief = app.test_client()
    thief.set_cookie("session", client.get_cookie("session").value)
    assert who(thief) == "alice@example.org"
    answer = press(client, "/account", "/sign-out")
    assert (answer.status_code, answer.location) == (303, "/sign-in")
    assert who(client) is None
    assert who(thief) is None


def test_signing_out_needs_a_post(alice):
    assert alice.get("/sign-out").status_code == 405
    assert who(alice) == "alice@example.org"


def test_people_go_where_they_wanted(client):
    assert client.get("/account/keys").location == "/sign-in?next=/account/keys"
    ask(client, "alice@example.org", next="/account/keys")
    assert press(client, link_in(all_mails()[0])).location == "/account/keys"


def test_a_slip_in_the_address_does_not_lose_where_they_wanted_to_go(client):
    assert 'name="next" value="/account/keys"' in ask(client, "nobody", next="/account/keys").text


def test_a_signed_in_person_is_not_asked_again(alice):
    assert alice.get("/sign-in?next=/account").location == "/account"
    assert alice.get("/sign-in?next=//evil.example").location == "/"


@pytest.mark.parametrize("email", ["root@example.org"])
def test_the_setting_makes_administrators(client, email):
    ask(client, email)
    press(client, link_in(all_mails()[0]))
    assert db.session.scalars(sa.select(User)).one().is_admin


def test_the_first_person_is_not_an_administrator(client):
    ask(client, "alice@example.org")
    press(client, link_in(all_mails()[0]))
    assert not db.session.scalars(sa.select(User)).one().is_admin
