"""A served app, topics of a tiny room of the tests' own, and browsers' sockets."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from websockets.sync.client import ClientConnection, connect
from werkzeug.serving import make_server

from app import live
from app.errors import NotFound
from app.lib.ids import new_id
from app.live.bus import EXTENSION
from app.live.hub import Hub
from app.web import Throughline
from tests.signals import eventually

ONCE = 20.0


@dataclass
class Things:
    """A room with one kind of topic, `thing:<id>`, owned by one person each."""

    owners: dict[UUID, UUID] = field(default_factory=dict)
    texts: dict[UUID, str] = field(default_factory=dict)
    renderings: list[UUID] = field(default_factory=list)
    before_render: Callable[[], None] = lambda: None

    def make(self, owner: FlaskClient, text: str = "one") -> UUID:
        thing = new_id()
        self.owners[thing], self.texts[thing] = owner.user.id, text
        return thing

    def may_see(self, user, thing: UUID) -> bool:
        return user.is_admin or self.owners.get(thing) == user.id

    def render(self, thing: UUID) -> str:
        self.renderings.append(thing)
        self.before_render()
        if thing not in self.texts:
            raise NotFound
        return f'<p id="thing-{thing}">{self.texts[thing]}</p>'


@pytest.fixture
def things() -> Things:
    room = Things()
    live.register("thing", "card", authorise=room.may_see, render=room.render)
    live.register("thing", "page", authorise=room.may_see, render=room.render)
    return room


@pytest.fixture
def hub(app: Throughline) -> Iterator[Hub]:
    found: Hub = app.extensions[EXTENSION]
    yield found
    found.stop()
    found.check_seconds = 30.0


@pytest.fixture
def server(app: Throughline, hub: Hub) -> Iterator[str]:
    """Serve the app on a free port, a thread a request; the host and port."""
    served = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{served.port}"
    hub.close_all(1001)
    eventually(lambda: hub.count() == 0)
    assert hub.wait_until_idle(10)  # the next test empties the tables
    served.shutdown()
    thread.join()
    served.server_close()


def cookie_of(browser: FlaskClient) -> str:
    cookie = browser.get_cookie("session")
    return f"session={cookie.value}" if cookie else ""


@pytest.fixture
def opened(server: str):
    """Open a socket as one person: `with opened(alice, "thing:<id>/card") as ws`."""

    @contextmanager
    def run(browser: FlaskClient, *names: str, origin: str | None = "same", **more) -> Iterator[ClientConnection]:
        headers = {"Cookie": cookie_of(browser)}
        sent_origin = f"http://{server}" if origin == "same" else origin
        with connect(
            f"ws://{server}/live?topics={','.join(names)}", origin=sent_origin, additional_headers=headers, **more
        ) as ws:
            yield ws

    return run


def text_of(message: str | bytes) -> str:
    """Return what the fragment in a message says."""
    return re.search(r"<p [^>]*>(.*?)</p>", str(message), re.DOTALL)[1]


def next_text(ws: ClientConnection, timeout: float = ONCE) -> str:
    return text_of(ws.recv(timeout=timeout))


def wait_for(ws: ClientConnection, text: str) -> None:
    """Read messages until one says `text`."""
    while next_text(ws) != text:
        pass
