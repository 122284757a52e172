"""What every answer carries, and whom a request is believed to come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
import sqlalchemy as sa
from flask import request

from app import create_app
from app.accounts.routes.identity import network
from app.db import db
from app.settings import Settings
from app.web import Throughline
from tests.conftest import Browser

FORWARDED = {
    "X-Forwarded-For": "6.6.6.6, 198.51.100.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "talks.example",
}


@pytest.fixture
def make(app: Throughline, settings: Settings) -> Iterator[Callable[..., Browser]]:
    """Return a browser of an app with other settings, which also tells how it sees a request."""
    made = []

    def build(**changes: object) -> Browser:
        other = create_app(settings.but(**changes))
        other.test_client_class = Browser
        other.add_url_rule("/seen", view_func=lambda: [network(), request.scheme, request.host])
        made.append(other)
        return other.test_client()

    yield build
    for other in made:
        with other.app_context():
            db.engine.dispose()


@pytest.mark.parametrize(
    "headers", [FORWARDED, {"X-Real-IP": "6.6.6.6"}, {"Forwarded": "for=6.6.6.6;host=evil.example"}]
)
def test_no_proxy_is_believed_unless_the_setting_says_so(make, headers):
    seen = make().get("/seen", headers=headers, environ_base={"REMOTE_ADDR": "192.0.2.1"}).json
    assert seen == ["192.0.2.1", "http", "localhost"]


def test_of_a_list_of_proxies_only_as_many_are_believed_as_there_are(make):
    browser, base = make(trusted_proxies=1), {"REMOTE_ADDR": "127.0.0.1"}
    assert browser.get("/seen", headers=FORWARDED, environ_base=base).json == ["198.51.100.7", "https", "talks.example"]
    # A sender can write longer lists, never shorter ones: what their own proxy added is last.
    assert browser.get("/seen", environ_base=base).json == ["127.0.0.1", "http", "localhost"]


@pytest.mark.parametrize(
    ("address", "is_seen_as"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("", ""),
        ("nonsense", "nonsense"),
    ],
)
def test_a_network_is_an_address_or_the_first_half_of_a_long_one(make, address, is_seen_as):
    assert make().get("/seen", environ_base={"REMOTE_ADDR": address}).json[0] == is_seen_as


@pytest.mark.parametrize(
    "path",
    ["/", "/sign-in", "/nothing-here", "/account", "/api/me", "/static/app.css", "/healthz", "/live", "/admin/rq"],
)
def test_every_answer_carries_the_headers_that_guard_it(make, path):
    plain, secure = make(), make(public_url="https://talks.example")
    with plain.get(path) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert "Strict-Transport-Security" not in answer.headers
        assert "Access-Control-Allow-Origin" not in answer.headers
    with secure.get(path) as answer:
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_what_a_signed_in_person_sees_is_kept_by_no_cache(alice):
    for path in ("/", "/account", "/videos", "/runs", "/api/me", "/nothing-here"):
        assert alice.get(path).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "error",
    [
        sa.exc.OperationalError("SELECT 1", {}, psycopg.OperationalError("server closed the connection")),
        sa.exc.InterfaceError("SELECT 1", {}, psycopg.InterfaceError("the server closed the connection before")),
        sa.exc.TimeoutError("no connection was free"),
        psycopg.OperationalError("server closed the connection"),  # the engine writes events on the driver itself
    ],
    ids=["lost", "closed", "overloaded", "lost to the engine"],
)
def test_a_database_that_cannot_answer_now_is_a_503_to_come_back_to(alice, monkeypatch, error):
    def fail(_cookie: str) -> None:
        raise error

    monkeypatch.setattr("app.accounts.queries.find_session", fail)
    for path in ("/", "/account", "/api/me"):
        answer = alice.get(path)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert "database" in answer.text
        assert "closed the connection" not in answer.text
    assert alice.get("/api/me").json["error"] == "transient"


def test_a_page_that_cannot_even_be_drawn_says_the_same_in_plain_words(alice, monkeypatch):
    def lost(*_args: object, **_values: object) -> None:
        raise psycopg.OperationalError("server closed the connection")

    monkeypatch.setattr("app.accounts.queries.find_session", lost)
    monkeypatch.setattr("app.web.render_template", lost)
    answer = alice.get("/account")
    assert (answer.status_code, answer.text[:12]) == (503, "The database")
