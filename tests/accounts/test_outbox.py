"""The development outbox: for the developer at this machine and nobody else."""

from __future__ import annotations

import pytest

from app import create_app
from app.lib.ids import new_id
from tests.accounts.mails import all_mails, link_in
from tests.accounts.pages import ask


@pytest.fixture
def mail(client):
    ask(client, "alice@example.org")
    return all_mails()[0]


def pages(mail) -> list[str]:
    return ["/dev/outbox", f"/dev/outbox/{mail.id}", f"/dev/outbox/{mail.id}/html"]


def test_the_developer_finds_the_link(client, mail):
    assert str(mail.id) in client.get("/dev/outbox").text
    shown = client.get(f"/dev/outbox/{mail.id}")
    assert f'{link_in(mail)}"' in shown.text
    assert shown.headers["Cache-Control"] == "no-store"
    html = client.get(f"/dev/outbox/{mail.id}/html")
    assert link_in(mail) in html.text
    assert "sandbox" in html.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "changes",
    [
        {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}},
        {"headers": {"X-Forwarded-For": "127.0.0.1"}},
        {"headers": {"Forwarded": "for=127.0.0.1"}},
        {"headers": {"Host": "evil.example"}},
        {"headers": {"Host": "localhost.evil.example:5000"}},
        {"environ_base": {"REMOTE_ADDR": ""}},
    ],
)
def test_others_find_nothing(client, mail, alice, root, changes):
    for page in pages(mail):
        assert client.get(page, **changes).status_code == 404
        assert alice.get(page, **changes).status_code == 404
        if "Host" not in changes.get("headers", {}):
            assert root.get(page, **changes).status_code == 200


def test_unknown_mails_are_404(client):
    assert client.get("/dev/outbox").status_code == 200
    assert client.get(f"/dev/outbox/{new_id()}").status_code == 404
    assert client.get("/dev/outbox/nonsense").status_code == 404


@pytest.mark.parametrize(
    "changes",
    [
        {"resend_api_key": "re_x"},
        {"environment": "production", "resend_api_key": "re_x", "secret_key": "s" * 40},
        {"environment": "production"},
    ],
)
def test_there_is_no_outbox_with_a_key_or_in_production(settings, changes):
    rules = create_app(settings.but(**changes)).url_map.iter_rules()
    assert not [rule for rule in rules if rule.rule.startswith("/dev/outbox")]
