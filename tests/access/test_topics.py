"""Every live view is placed here: who may watch it, by the handshake's own authorisation, and what it then shows."""

from __future__ import annotations

import pytest
from flask import request

from app.live import admission, rendering, topics
from tests.access.world import CONTENTS, EMAIL, WHO, World

ALICE = ("alice", "alice-key")
# kind and view: whose id of Alice's, and who may watch it.
VIEWS = {
    ("video", "card"): ("video", ALICE),
    ("video", "outline"): ("video", ALICE),
    ("video", "line"): ("video", ALICE),
    ("video", "page"): ("video", ALICE),
    ("video", "playback"): ("video", ALICE),
    ("run", "batch"): ("batch run", ALICE),
    ("run", "page"): ("video run", ALICE),
    ("run", "renewal"): ("renewal run", ALICE),
    ("run", "meta"): ("video run", ("root", "root-key")),
    ("run", "row"): ("video run", ALICE),
    ("run", "meta-row"): ("video run", ("root", "root-key")),
    ("runs", "list"): ("alice", ALICE),
    ("runs", "home"): ("alice", ALICE),
    ("videos", "list"): ("alice", ALICE),
}
SOCKET = {
    "Origin": "http://localhost",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def test_every_view_is_in_the_table_and_every_line_is_a_view(world: World):
    registered = {name for name in topics._views if name[0] not in ("thing", "who")}  # the live tests' own
    assert registered == set(VIEWS)


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize(("kind", "view"), VIEWS)
def test_who_may_watch(world: World, kind: str, view: str, who: str):
    thing, allowed = VIEWS[kind, view]
    name = f"{kind}:{world.things[thing]}/{view}"
    if who in allowed:
        assert chosen(world, who, name) == [name]
        return
    answer = world.ask(who, "GET", f"/live?topics={name}", headers=SOCKET)
    assert answer.status_code == (401 if who in ("nobody", "forged-key") else 404)
    text = answer.get_data(as_text=True)
    assert not [word for word in (*CONTENTS, EMAIL) if word in text]


def test_of_many_topics_a_stranger_gets_only_their_own(world: World):
    mine = f"runs:{world.things['charlie']}/list"
    others = [f"{kind}:{world.things[thing]}/{view}" for (kind, view), (thing, _) in VIEWS.items()]
    assert chosen(world, "charlie", ",".join([*others, mine])) == [mine]


@pytest.mark.parametrize(("kind", "view"), VIEWS)
def test_what_a_view_shows(world: World, kind: str, view: str):
    thing, allowed = VIEWS[kind, view]
    with world.app.app_context():
        payload = rendering.render(world.app, topics.Name(kind, world.things[thing], view))
    assert payload is not None
    if "root" in allowed:
        assert not [word for word in CONTENTS if word in payload.text]


@pytest.mark.parametrize(("kind", "view"), VIEWS)
@pytest.mark.parametrize("identity", ["01a20302-0ebe-70e7-bf24-78868646a266", "made-up", "%00", "", "0" * 36])
def test_nobody_may_watch_what_is_not_there(world: World, kind: str, view: str, identity: str):
    for who in ("alice", "root"):
        answer = world.ask(who, "GET", f"/live?topics={kind}:{identity}/{view}", headers=SOCKET)
        assert answer.status_code == 404


def chosen(world: World, who: str, names: str) -> list[str]:
    """Return what the handshake's own authorisation lets somebody watch, asked as the endpoint asks it."""
    # With an app context of its own: the tests' remembers who asked last.
    with world.app.app_context(), world.app.test_request_context("/live", headers=SOCKET | world.signs(who)):
        admission.check_origin(request, "https://talks.example.org")
        assert admission.visitor(request).user_id == world.things[who.partition("-")[0]]
        return [str(name) for name in admission.choose(names)]
