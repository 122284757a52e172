"""Limits on asking for mails and trying codes; Redis down must not break signing in."""

from __future__ import annotations

import socket
import time

import pytest

from app import create_app
from app.db import db
from app.extensions import limiter
from tests.accounts.mails import all_mails, link_in
from tests.accounts.pages import press, token
from tests.conftest import Browser


@pytest.fixture
def make(app, settings):
    """Build an app with limits on. The limiter is one for the whole process, so it is turned off again."""

    made_apps = []

    def build(**changes):
        made = create_app(settings.but(rate_limits_enabled=True, **changes))
        made.testing = True
        made.test_client_class = Browser
        made_apps.append(made)
        return made

    kept = dict(vars(limiter))
    yield build
    vars(limiter).clear()
    vars(limiter).update(kept)
    for one in made_apps:
        with one.app_context():
            db.engine.dispose()


def ask_from(app, email, address="192.0.2.1", client=None):
    client = client or app.test_client()
    base = {"REMOTE_ADDR": address}
    form_token = token(client.get("/sign-in", environ_base=base))
    return client.post("/sign-in", data={"csrf_token": form_token, "email": email}, environ_base=base)


def test_one_address_is_limited_from_one_network(make):
    app = make()
    assert [ask_from(app, "a@example.org").status_code for _ in range(5)] == [303] * 4 + [429]
    assert ask_from(app, " A@Example.org ").status_code == 429
    assert ask_from(app, "b@example.org").status_code == 303


def test_a_stranger_s_tries_do_not_lock_the_owner_out_at_once(make):
    app = make()
    for _ in range(6):
        ask_from(app, "a@example.org", "192.0.2.66")
    assert ask_from(app, "a@example.org", "192.0.2.1").status_code == 303


def test_one_address_is_limited_over_all_networks(make):
    app = make()
    answers = [ask_from(app, "a@example.org", f"192.0.2.{number}").status_code for number in range(1, 15)]
    assert answers.count(303) == 12
    assert answers[-1] == 429


def test_one_network_is_limited_over_all_addresses(make):
    app = make()
    answers = [ask_from(app, f"a{number}@example.org", f"2001:db8::{number:x}").status_code for number in range(1, 23)]
    assert answers == [303] * 20 + [429] * 2
    assert ask_from(app, "z@example.org", "2001:db8:0:1::1").status_code == 303


def test_unknown_addresses_are_limited_like_known_ones(make, alice):
    app = make()
    for email in ("alice@example.org", "nobody@example.org"):
        assert [ask_from(app, email).status_code for _ in range(5)] == [303] * 4 + [429]


def test_the_refusal_says_when_to_come_back(make):
    app = make()
    for _ in range(5):
        answer = ask_from(app, "a@example.org")
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 601  # rounded up: who comes back then is never early
    assert "too often. Try again in 10 min" in answer.text


def test_an_answer_does_not_tell_how_often_others_asked_for_the_same_address(make):
    app = make()
    ask_from(app, "a@example.org", "192.0.2.66")
    answer = ask_from(app, "a@example.org", "192.0.2.1")
    assert answer.status_code == 303
    assert not [name for name, _ in answer.headers if "ratelimit" in name.lower() or name == "Retry-After"]


def test_codes_are_limited_by_network(make):
    app = make()
    client = app.test_client()
    ask_from(app, "a@example.org", client=client)
    base = {"REMOTE_ADDR": "192.0.2.9"}
    form_token = token(client.get("/sign-in/code", environ_base=base))
    data = {"csrf_token": form_token, "code": "000000"}
    answers = [client.post("/sign-in/code", data=data, environ_base=base).status_code for _ in range(31)]
    assert answers[-1] == 429
    assert 429 not in answers[:30]


@pytest.mark.parametrize("redis_url", ["redis://127.0.0.1:1/0", "unix:///nonexistent/redis.sock"])
def test_without_redis_people_sign_in_and_are_still_limited(make, redis_url):
    app = make(redis_url=redis_url)
    client = app.test_client()
    assert ask_from(app, "a@example.org", client=client).status_code == 303
    assert press(client, link_in(all_mails()[0])).status_code == 303
    assert [ask_from(app, "b@example.org").status_code for _ in range(5)] == [303] * 4 + [429]


def test_a_hanging_redis_does_not_hang_signing_in(make):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        app = make(redis_url=f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        started = time.monotonic()
        assert ask_from(app, "a@example.org").status_code == 303
        assert time.monotonic() - started < 3


def test_what_limits_count_by_holds_no_address(make, settings):
    from app.extensions import redis_client

    ask_from(make(), "alice.secret@example.org")
    with redis_client(settings) as connection:
        names = [name.decode() for name in connection.keys("*limits*")]
    assert names
    assert not [name for name in names if "alice" in name]
