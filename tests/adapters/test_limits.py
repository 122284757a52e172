"""The limiter that all processes of an instance share."""

from __future__ import annotations

import threading

import pytest
import redis

from app.adapters import llm_limits
from app.adapters.llm_limits import Limiter, Limits
from app.errors import Transient
from app.extensions import redis_client
from app.settings import Provider


@pytest.fixture
def make(app):
    def make(at_once=2, a_minute=100, key="key"):
        return Limiter.of(app.settings, "embeddings", Provider("http://models", key, "m"), Limits(at_once, a_minute))

    return make


def test_calls_at_once_are_limited_over_all_processes(make):
    one, other = make(), make()
    with one.slot(), other.slot():
        with pytest.raises(Transient) as caught, one.slot():
            pass
        assert 1 <= caught.value.retry_after <= 13
    with other.slot():
        pass


def test_calls_a_minute_are_limited(make):
    limiter = make(a_minute=2)
    for _ in range(2):
        with limiter.slot():
            pass
    with pytest.raises(Transient) as caught, limiter.slot():
        pass
    assert 30 < caught.value.retry_after <= 75


def test_a_pause_is_shared_by_all_and_other_accounts_go_on(make):
    make().pause(30)
    with pytest.raises(Transient) as caught, make().slot():
        pass
    assert 25 < caught.value.retry_after <= 38
    with make(key="another").slot():
        pass


def test_a_slot_is_given_back_when_the_call_fails(make):
    limiter = make(at_once=1)
    with pytest.raises(RuntimeError), limiter.slot():
        raise RuntimeError
    with limiter.slot():
        pass


def test_a_killed_holders_slot_is_free_after_its_lease_and_a_living_ones_is_renewed(make, app, monkeypatch):
    monkeypatch.setattr(llm_limits, "LEASE", 0.4)
    monkeypatch.setattr(llm_limits, "RENEWAL", 0.1)
    connection = redis_client(app.settings)
    living, dead = make(at_once=2), make(at_once=2)
    dead._hold = lambda _token: None  # it dies before it can renew
    dead._admit("token-of-the-dead")
    with living.slot():
        _wait_until(lambda: connection.zcount(living._slots, "-inf", _now(connection)) == 1)
        with living.slot():  # the dead one's place
            pass


def test_without_redis_calls_go_through(make, monkeypatch):
    limiter = make(at_once=1)
    broken = redis.Redis(port=1, socket_connect_timeout=0.1)
    limiter._redis = broken
    limiter._take.registered_client = broken
    with limiter.slot():
        limiter.pause(1)


def _now(connection) -> float:
    seconds, microseconds = connection.time()
    return seconds * 1000 + microseconds / 1000


def _wait_until(is_true) -> None:
    waiting = threading.Event()
    for _ in range(200):
        if is_true():
            return
        waiting.wait(0.02)
    raise AssertionError("It did not happen within 4 seconds.")
