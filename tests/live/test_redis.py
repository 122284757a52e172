"""Redis lost, hung and back: no request waits for it or fails, and pages catch up."""

import shutil
import signal
import tempfile
import time
from pathlib import Path

import pytest

from app import live
from app.embedded.redis import RedisServer
from app.live.bus import EVERYTHING, EXTENSION, Publisher
from app.live.hub import Hub
from tests.live.conftest import next_text, wait_for
from tests.signals import eventually


@pytest.fixture
def own_redis():
    folder = Path(tempfile.mkdtemp(prefix="tl-", dir="/tmp"))
    folder.chmod(0o755)  # as root, Redis runs under another account, which must reach it
    redis = RedisServer(folder / "redis")
    redis.start()
    yield redis
    redis.stop()
    shutil.rmtree(folder)


@pytest.fixture
def hub(app, own_redis, monkeypatch):
    """A hub on a Redis of its own, in place of the app's."""
    monkeypatch.setattr("app.live.bus.PAUSE_SECONDS", 0.05)
    monkeypatch.setattr("app.live.listener.AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(app, "settings", app.settings.but(redis_url=own_redis.url()))
    found, usual = Hub(app), app.extensions[EXTENSION]
    app.extensions[EXTENSION] = found
    yield found
    found.stop()
    app.extensions[EXTENSION] = usual


def test_after_a_restart_of_redis_every_page_catches_up(opened, alice, things, hub, own_redis):
    thing = things.make(alice)
    with opened(alice, f"thing:{thing}/card") as ws:
        next_text(ws)
        own_redis.stop()
        things.texts[thing] = "two"
        live.publish([f"thing:{thing}"])
        own_redis.start()
        wait_for(ws, "two")
        things.texts[thing] = "three"
        live.publish([f"thing:{thing}"])
        wait_for(ws, "three")


def test_a_page_that_connects_without_redis_still_gets_its_snapshot(opened, alice, things, hub, own_redis):
    own_redis.stop()
    with opened(alice, f"thing:{things.make(alice)}/card") as ws:
        assert next_text(ws) == "one"


def test_a_hung_redis_costs_a_request_a_quarter_second_once(app, own_redis):
    publisher = Publisher(app.settings.but(redis_url=own_redis.url()))
    publisher.publish(["thing:1"])
    own_redis.process.send_signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        publisher.publish(["thing:1"])
        first = time.monotonic() - began
        began = time.monotonic()
        for _ in range(1000):
            publisher.publish(["thing:1"])
        others = time.monotonic() - began
    finally:
        own_redis.process.send_signal(signal.SIGCONT)
    assert first < 1.0  # 250 ms, and room for a busy machine
    assert others < 0.5
    eventually(lambda: not publisher._is_away)


def test_what_could_not_be_sent_is_sent_when_redis_is_back(app, own_redis, monkeypatch):
    monkeypatch.setattr("app.live.bus.PAUSE_SECONDS", 0.05)
    publisher = Publisher(app.settings.but(redis_url=own_redis.url()))
    own_redis.stop()
    publisher.publish(["thing:1"])
    publisher.publish(["thing:2", "thing:3"])
    sent = []
    keep, publisher._send = publisher._send, lambda topics: keep(topics) and (sent.append(list(topics)) or True)
    own_redis.start()
    eventually(lambda: not publisher._is_away)
    assert sorted(topic for topics in sent for topic in topics) == ["thing:1", "thing:2", "thing:3"]


def test_what_is_kept_for_redis_is_bounded(app, own_redis):
    publisher = Publisher(app.settings.but(redis_url=own_redis.url()))
    publisher._is_away = True
    publisher.publish(f"thing:{number}" for number in range(20_000))
    assert list(publisher._kept) == [EVERYTHING]
