"""Which mails a person wants, and the links that end them."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from app.accounts import queries, service
from app.db import db
from app.lib.ids import new_id
from tests.accounts.pages import press


def wants(user) -> set[str]:
    db.session.rollback()
    return queries.list_wanted_notices(user.id)


def path(user, kind="ready") -> str:
    return urlsplit(service.unsubscribe_url(user.id, kind)).path


def test_people_want_mails_until_they_say_no(alice):
    assert queries.wants_notice(alice.user.id, "ready")
    assert press(alice, "/account/notices", failed="1").status_code == 303
    assert wants(alice.user) == {"failed"}
    press(alice, "/account/notices", ready="1", failed="1")
    assert wants(alice.user) == {"ready", "failed"}
    press(alice, "/account/notices")
    assert wants(alice.user) == set()


def test_opening_the_link_changes_nothing(alice, client):
    page = client.get(path(alice.user))
    assert page.status_code == 200
    assert "alice@example.org" in page.text
    assert wants(alice.user) == {"ready", "failed"}


def test_what_mail_programs_do_by_themselves_before_anybody_clicks_changes_nothing(alice, client):
    address = path(alice.user)
    for headers in ({}, {"Sec-Purpose": "prefetch"}, {"User-Agent": "a mail scanner"}):
        assert client.head(address, headers=headers).status_code == 200
        assert client.get(f"{address}?List-Unsubscribe=One-Click", headers=headers).status_code == 200
        assert client.options(address, headers=headers).status_code == 200
    assert wants(alice.user) == {"ready", "failed"}


def test_the_page_is_kept_out_of_caches_and_indexes(alice, client):
    for answer in (client.get(path(alice.user)), client.post(path(alice.user))):
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Robots-Tag"] == "noindex"


def test_a_mail_service_may_post_either_kind_of_form(alice, client):
    """RFC 8058, 3.2: multipart/form-data or application/x-www-form-urlencoded; no cookie, no referer, no redirect."""
    for kind, form in (("ready", "multipart/form-data"), ("failed", "application/x-www-form-urlencoded")):
        answer = client.post(path(alice.user, kind), data={"List-Unsubscribe": "One-Click"}, content_type=form)
        assert answer.status_code == 200
        assert "Done" in answer.text
    assert wants(alice.user) == set()


def test_the_button_ends_the_mails_without_signing_in(alice, client):
    assert press(client, path(alice.user)).status_code == 200
    assert wants(alice.user) == {"failed"}


def test_a_mail_program_ends_them_with_one_post(alice, client):
    headers = service.notice_headers(alice.user.id, "failed")
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    address = urlsplit(headers["List-Unsubscribe"].strip("<>"))
    assert f"{address.scheme}://{address.netloc}" == "http://127.0.0.1:5000"
    answer = client.post(address.path, data={"List-Unsubscribe": "One-Click"})
    assert answer.status_code == 200
    assert wants(alice.user) == {"ready"}
    assert client.post(address.path).status_code == 200, "twice is once"


@pytest.mark.parametrize(
    "damage", [lambda text: text[:-1], lambda text: text + "x", lambda _text: "nonsense", lambda _text: "."]
)
def test_a_forged_link_is_404(alice, client, damage):
    front, _, signed = path(alice.user).rpartition("/")
    address = f"{front}/{damage(signed)}"
    assert client.get(address).status_code == 404
    assert client.post(address).status_code == 404
    assert wants(alice.user) == {"ready", "failed"}


def test_the_link_of_a_gone_person_is_404(alice, client, execute):
    address = path(alice.user)
    execute('DELETE FROM "user" WHERE id = :id', id=alice.user.id)
    assert client.get(address).status_code == 404


def test_a_closed_account_is_not_written_to(alice):
    alice.user.is_disabled = True
    assert not queries.wants_notice(alice.user.id, "ready")
    assert not queries.wants_notice(new_id(), "ready")


def test_links_are_made_without_a_request(alice):
    assert service.unsubscribe_url(alice.user.id, "ready").startswith("http://127.0.0.1:5000/notices/unsubscribe/")
