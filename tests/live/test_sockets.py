"""A browser's socket: who is let in, what it gets first, and what after a change."""

from types import SimpleNamespace

import pytest
import structlog
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app import live
from app.accounts import service
from app.accounts.models import User
from app.db import db
from app.lib.ids import new_id
from app.live import admission, topics
from app.live.connection import Visitor
from tests.factories import sign_in
from tests.live.conftest import next_text, wait_for
from tests.signals import eventually


def refused(opened, *args, **more) -> int:
    with pytest.raises(InvalidStatus) as caught, opened(*args, **more):
        pass
    return caught.value.response.status_code


def closing_code(ws) -> int | None:
    """Read until the socket is closed; the code it was closed with."""
    try:
        while True:
            ws.recv(timeout=20)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


def test_the_owner_gets_a_snapshot_and_then_every_change(opened, alice, things):
    thing = things.make(alice)
    with opened(alice, f"thing:{thing}/card") as ws:
        assert next_text(ws) == "one"
        things.texts[thing] = "two"
        live.publish([f"thing:{thing}"])
        wait_for(ws, "two")


def test_the_fragment_comes_in_an_envelope_that_morphs_its_element(opened, alice, things):
    thing = things.make(alice)
    with opened(alice, f"thing:{thing}/card") as ws:
        assert ws.recv(timeout=20) == (
            f'<hx-partial hx-target="#thing-{thing}" hx-swap="outerMorph"><p id="thing-{thing}">one</p></hx-partial>'
        )


def test_an_administrator_is_let_in_where_the_room_says_so(opened, alice, root, things):
    thing = things.make(alice)
    with opened(root, f"thing:{thing}/card") as ws:
        assert next_text(ws) == "one"


def test_a_stranger_gets_the_same_404_as_for_what_does_not_exist(opened, alice, charlie, things):
    thing = things.make(alice)
    assert refused(opened, charlie, f"thing:{thing}/card") == 404
    assert refused(opened, charlie, f"thing:{new_id()}/card") == 404
    assert refused(opened, charlie, "nonsense", "thing:1/card", f"unknown:{thing}/card", f"thing:{thing}/x") == 404
    assert things.renderings == []


def test_each_topic_is_authorised_on_its_own(opened, alice, charlie, things, hub):
    hers, his = things.make(alice, "hers"), things.make(charlie, "his")
    with opened(charlie, f"thing:{hers}/card", f"thing:{his}/card") as ws:
        assert next_text(ws) == "his"
        live.publish([f"thing:{hers}", f"thing:{his}"])
        assert next_text(ws) == "his"
    assert hers not in things.renderings


def test_nobody_signed_in_gets_401(opened, client, alice, things):
    assert refused(opened, client, f"thing:{things.make(alice)}/card") == 401


@pytest.mark.parametrize("origin", ["https://evil.example", None, "null"])
def test_another_sites_page_is_refused(opened, alice, things, origin):
    assert refused(opened, alice, f"thing:{things.make(alice)}/card", origin=origin) == 403


def test_more_than_sixty_topics_are_refused(opened, alice, things):
    names = [f"thing:{things.make(alice)}/card" for _ in range(61)]
    assert refused(opened, alice, *names) == 422
    with opened(alice, *names[:60]) as ws:
        assert [next_text(ws) for _ in range(60)] == ["one"] * 60


def test_a_person_cannot_open_sockets_without_end(opened, alice, things, hub, monkeypatch):
    monkeypatch.setattr(hub, "sockets_per_person", 1)
    name = f"thing:{things.make(alice)}/card"
    with opened(alice, name) as ws:
        next_text(ws)
        assert refused(opened, alice, name) == 429


def test_a_plain_request_to_the_endpoint_is_no_crash(alice, client):
    assert alice.get("/live").status_code == 400
    assert client.get("/live", headers={"Upgrade": "websocket", "Connection": "Upgrade"}).status_code == 403


def test_a_handshake_without_a_key_is_refused(alice, server):
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Origin": "http://localhost"}
    assert alice.get("/live", headers=headers).status_code == 422


def test_what_browsers_say_is_dropped_and_too_much_ends_the_socket(opened, alice, things, hub):
    thing = things.make(alice)
    with opened(alice, f"thing:{thing}/card") as ws:
        next_text(ws)
        for _ in range(100):
            ws.send("x" * 1000)
        things.texts[thing] = "two"
        live.publish([f"thing:{thing}"])
        wait_for(ws, "two")
        ws.send("x" * 100_000)
        assert closing_code(ws) in {1009, None}  # None: closed while some of it was still under way
    eventually(lambda: hub.count() == 0)


def test_signing_out_everywhere_ends_the_sockets_at_once(opened, alice, root, things, hub):
    name = f"thing:{things.make(alice)}/card"
    with opened(alice, name) as hers, opened(root, name) as other:
        next_text(hers), next_text(other)
        service.close_all_sessions(alice.user.id)
        db.session.commit()
        assert closing_code(hers) == 1008  # hx-ws does not come back after it
        live.publish([name.partition("/")[0]])
        assert next_text(other) == "one"


def test_signing_out_of_one_browser_ends_only_its_sockets(opened, alice, app, things):
    name = f"thing:{things.make(alice)}/card"
    phone = sign_in(app.test_client(), alice.user)
    phone.user = alice.user
    with opened(alice, name) as here, opened(phone, name) as there:
        next_text(here), next_text(there)
        with phone.session_transaction() as session:
            service.close_session(session["_user_id"])
        db.session.commit()
        assert closing_code(there) == 1008
        live.publish([name.partition("/")[0]])
        assert next_text(here) == "one"


def test_a_lost_permission_ends_that_topic_within_the_check(opened, alice, things, hub):
    hub.check_seconds = 0.05
    mine, gone = things.make(alice, "mine"), things.make(alice, "gone")
    with opened(alice, f"thing:{mine}/card", f"thing:{gone}/card") as ws:
        assert {next_text(ws), next_text(ws)} == {"mine", "gone"}
        things.owners[gone] = new_id()
        eventually(lambda: len(hub._channels) == 1)
        live.publish([f"thing:{gone}", f"thing:{mine}"])
        assert next_text(ws) == "mine"


def test_a_disabled_person_is_disconnected_by_the_regular_check(opened, alice, things, hub):
    hub.check_seconds = 0.05
    with opened(alice, f"thing:{things.make(alice)}/card") as ws:
        next_text(ws)
        db.session.get(User, alice.user.id).is_disabled = True
        db.session.commit()
        assert closing_code(ws) == 1008


def test_a_socket_that_closes_during_the_check_is_no_failure(app, alice, things):
    names = {topics.parse(f"thing:{things.make(alice)}/card") for _ in range(2)}
    who = Visitor(alice.user.id, (("Cookie", f"session={alice.get_cookie('session').value}"),), "127.0.0.1", "")
    closing = SimpleNamespace(visitor=who, names=set(names))

    def may_see(_user, _thing):
        closing.names.clear()  # as the hub does when the browser goes while the database is asked
        return True

    topics.register("thing", "card", authorise=may_see, render=things.render)
    with structlog.testing.capture_logs() as lines:
        assert list(admission.check_again(app, [closing])) == [(closing, frozenset(names))]
    assert lines == []


def test_a_socket_holds_no_database_connection(opened, alice, things, hub):
    name = f"thing:{things.make(alice)}/card"
    db.session.remove()
    with opened(alice, name) as one, opened(alice, name) as two:
        next_text(one), next_text(two)
        eventually(lambda: db.engine.pool.checkedout() == 0)
        assert hub.count(alice.user.id) == 2


def test_closing_all_tells_browsers_to_come_back(opened, alice, things, hub):
    with opened(alice, f"thing:{things.make(alice)}/card") as ws:
        next_text(ws)
        live.close_all()
        assert closing_code(ws) == 1012
    eventually(lambda: hub.count() == 0)
    assert not hub._channels
    assert not hub._by_topic
