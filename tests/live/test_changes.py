"""From a change to what browsers get: after the commit, once for all, at most ten times a second."""

import threading
import time

from sqlalchemy import text

from app import live
from app.accounts.models import User
from app.db import db
from app.lib.ids import new_id
from app.live.connection import Connection, Visitor
from app.live.hub import RENDER_EVERY_SECONDS
from app.live.rendering import TOKEN, Payload, wrap
from app.live.topics import Name
from tests.factories import make_user
from tests.live.conftest import next_text, wait_for
from tests.signals import eventually


def settle(hub, name) -> None:
    """Wait until nothing is due: the snapshot, and the rendering when the listener has subscribed."""
    assert hub._listener.has_subscribed.wait(30)
    eventually(lambda: all(channel.state == "idle" for channel in hub._channels.values()))
    started = hub._channels[name].started_at
    assert started > 0


class Heard:
    """What was published, as the listeners of other processes would hear it."""

    def __init__(self, app):
        self.topics = []
        self.app = app

    def __enter__(self):
        publisher = self.app.extensions["throughline.live"].publisher
        self.send, publisher._send = publisher._send, self._note
        return self.topics

    def _note(self, topics):
        self.topics.append(list(topics))
        return True

    def __exit__(self, *_):
        del self.app.extensions["throughline.live"].publisher._send


def test_a_touch_is_told_after_the_commit_in_one_message(app, hub):
    with Heard(app) as heard:
        db.session.execute(text("SELECT 1"))
        live.touch("thing:1")
        live.touch("thing:2")
        live.touch("thing:1")
        assert heard == []
        db.session.commit()
        assert heard == [["thing:1", "thing:2"]]
        db.session.commit()
        assert len(heard) == 1


def test_a_touch_that_is_rolled_back_is_never_told(app, hub):
    with Heard(app) as heard:
        make_user("bob@example.org")
        live.touch("thing:1")
        db.session.rollback()
        live.touch("thing:2")
        db.session.commit()
        assert heard == [["thing:2"]]


def test_a_released_savepoint_tells_nothing_yet(app, hub):
    with Heard(app) as heard:
        live.touch("thing:1")
        with db.session.begin_nested():
            db.session.add(User(email="bob@example.org"))
        assert heard == []
        db.session.commit()
        assert heard == [["thing:1"]]


def test_two_sockets_of_one_topic_share_one_rendering(opened, alice, root, things, hub):
    thing = things.make(alice)
    name = f"thing:{thing}/card"
    with opened(alice, name) as one, opened(root, name) as two:
        next_text(one), next_text(two)
        settle(hub, Name("thing", thing, "card"))
        before = hub.renderings[name]
        things.texts[thing] = "two"
        hub.changed([f"thing:{thing}"])
        wait_for(one, "two"), wait_for(two, "two")
        assert hub.renderings[name] == before + 1


def test_every_view_of_a_topic_is_rendered(opened, alice, things, hub):
    thing = things.make(alice)
    with opened(alice, f"thing:{thing}/card", f"thing:{thing}/page") as ws:
        next_text(ws), next_text(ws)
        settle(hub, Name("thing", thing, "card"))
        things.texts[thing] = "two"
        hub.changed([f"thing:{thing}"])
        wait_for(ws, "two"), wait_for(ws, "two")


def test_many_changes_cost_at_most_ten_renderings_a_second_and_the_last_is_shown(opened, alice, things, hub):
    thing = things.make(alice)
    name = f"thing:{thing}/card"
    with opened(alice, name) as ws:
        next_text(ws)
        settle(hub, Name("thing", thing, "card"))
        before, began = hub.renderings[name], time.monotonic()
        for number in range(2000):
            things.texts[thing] = str(number)
            hub.changed([f"thing:{thing}"])
        wait_for(ws, "1999")
        allowed = 2 + (time.monotonic() - began) / RENDER_EVERY_SECONDS
        assert hub.renderings[name] - before <= allowed


def test_the_first_change_after_a_quiet_time_is_rendered_at_once(opened, alice, things, hub):
    thing = things.make(alice)
    with opened(alice, f"thing:{thing}/card") as ws:
        next_text(ws)
        name = Name("thing", thing, "card")
        settle(hub, name)
        channel = hub._channels[name]
        eventually(lambda: time.monotonic() - channel.started_at > RENDER_EVERY_SECONDS)
        asked = []
        hub._scheduler.at = lambda when, _work: asked.append(when - time.monotonic())
        hub.changed([f"thing:{thing}"])
        del hub._scheduler.at
        assert asked
        assert asked[0] <= 0


def test_a_change_during_a_rendering_is_rendered_again(opened, alice, things, hub):
    thing = things.make(alice)
    with opened(alice, f"thing:{thing}/card") as ws:
        next_text(ws)
        settle(hub, Name("thing", thing, "card"))
        is_rendering, may_go_on = threading.Event(), threading.Event()

        def hold():
            things.before_render = lambda: None
            is_rendering.set()
            may_go_on.wait(5)

        things.before_render = hold
        hub.changed([f"thing:{thing}"])
        assert is_rendering.wait(5)
        things.texts[thing] = "two"
        hub.changed([f"thing:{thing}"])
        may_go_on.set()
        wait_for(ws, "two")
        settle(hub, Name("thing", thing, "card"))


def test_what_fails_to_render_is_tried_again_and_disturbs_no_other(opened, alice, things, hub, monkeypatch):
    monkeypatch.setattr("app.live.hub.RETRY_SECONDS", 0.01)
    thing, other = things.make(alice), things.make(alice, "other")
    with opened(alice, f"thing:{thing}/card", f"thing:{other}/card") as ws:
        next_text(ws), next_text(ws)
        settle(hub, Name("thing", thing, "card"))
        failures = []

        def fail_twice():
            if len(failures) == 2:
                things.before_render = lambda: None
                return
            failures.append(1)
            raise OSError("the database is away")

        things.texts[thing] = "two"
        things.before_render = fail_twice
        hub.changed([f"thing:{thing}"])
        wait_for(ws, "two")
        assert len(failures) == 2


def test_what_is_gone_sends_nothing(opened, alice, things, hub):
    gone, kept = things.make(alice), things.make(alice, "kept")
    with opened(alice, f"thing:{gone}/card", f"thing:{kept}/card") as ws:
        next_text(ws), next_text(ws)
        settle(hub, Name("thing", gone, "card"))
        del things.texts[gone]
        things.texts[kept] = "still here"
        hub.changed([f"thing:{gone}", f"thing:{kept}"])
        wait_for(ws, "still here")


class FakeSocket:
    """What Connection needs of a WebSocket, with a browser that takes nothing until told."""

    def __init__(self):
        self.event, self.connected, self.sent = threading.Event(), True, []
        self.takes = threading.Event()
        self.sock = self
        self.input_buffer = []
        self.thread = threading.Thread()
        self.thread.join = lambda _seconds: None

    def send(self, message):
        self.takes.wait(5)
        self.sent.append(message)

    def abort(self):
        pass

    def close(self, code):
        self.connected = False
        self.sent.append(code)


def test_a_slow_browser_keeps_only_the_newest_fragment_of_each_topic():
    ws, names = FakeSocket(), tuple(Name("thing", new_id(), "card") for _ in range(3))
    connection = Connection(ws, Visitor(new_id(), (), "", ""), names)
    thread = threading.Thread(target=connection.serve)
    thread.start()
    for number in range(10_000):
        connection.push(names[number % 3], Payload(str(number), has_token=False))
        assert connection.waiting() <= 3
    ws.takes.set()
    eventually(lambda: len(ws.sent) >= 3 and connection.waiting() == 0)
    connection.close(1012)
    thread.join(5)
    assert set(ws.sent[-4:-1]) == {"9997", "9998", "9999"}
    assert len(ws.sent) <= 3 + 3 + 1
    assert ws.sent[-1] == 1012


def test_a_browser_that_takes_nothing_blocks_nobody(opened, alice, root, things, hub):
    thing = things.make(alice, "x" * 200_000)
    name = f"thing:{thing}/card"
    with opened(root, name, max_queue=1) as slow, opened(alice, name) as quick:
        next_text(quick)
        for number in range(60):
            things.texts[thing] = f"{number}" + "x" * 200_000
            hub.changed([f"thing:{thing}"])
            wait_for(quick, things.texts[thing])
        assert max(each.waiting() for each in tuple(hub._connections)) <= 1
        wait_for(slow, things.texts[thing])


def test_forms_in_a_fragment_get_the_token_of_each_session(opened, alice, things, app):
    thing = things.make(alice)
    with app.test_request_context():
        from flask_wtf.csrf import generate_csrf

        things.render = lambda thing: f'<form id="form-{thing}">{generate_csrf()}</form>'
    live.register("thing", "form", authorise=things.may_see, render=things.render)
    alice.get("/sign-in/")  # a page with a form: from now on her session has a token
    with alice.session_transaction() as session:
        session["csrf_token"] = "raw"
    with opened(alice, f"thing:{thing}/form") as ws:
        message = ws.recv(timeout=20)
    assert TOKEN not in message
    sent = message.partition(">")[2].partition(">")[2].partition("<")[0]
    with app.test_request_context():
        from flask import session
        from flask_wtf.csrf import validate_csrf

        session["csrf_token"] = "raw"
        validate_csrf(sent)


def test_a_fragment_needs_one_root_with_an_id():
    assert wrap(" \n") is None
    assert wrap('\n<div class="a"\n id="b-1">x</div>\n').text == (
        '<hx-partial hx-target="#b-1" hx-swap="outerMorph"><div class="a"\n id="b-1">x</div></hx-partial>'
    )
    for html in ("text", '<p><b id="a"></b></p>', '<p data-id="a">', '<p id="a b">'):
        try:
            wrap(html)
        except ValueError:
            continue
        raise AssertionError(html)


def test_a_rendering_under_way_outlives_its_socket_and_can_be_waited_for(opened, alice, things, hub):
    thing = things.make(alice)
    begun, go_on = threading.Event(), threading.Event()
    with opened(alice, f"thing:{thing}/card") as ws:
        next_text(ws)
        things.before_render = lambda: (begun.set(), go_on.wait(10))
        hub.changed([f"thing:{thing}"])
        assert begun.wait(10)
    eventually(lambda: hub.count() == 0)
    assert not hub.wait_until_idle(0.05)
    go_on.set()
    assert hub.wait_until_idle(10)
