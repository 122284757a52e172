"""Live updates behind gunicorn with gevent workers, as in production."""

import re
import time

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from app import live
from app.accounts.models import User
from app.db import db
from tests.live.conftest import cookie_of
from tests.live.gunicorn import Gunicorn


@pytest.fixture
def gunicorn(app):
    db.session.commit()
    served = Gunicorn(app.settings)
    served.start()
    yield served
    served.stop()


def watch(gunicorn, browser, **more):
    return connect(
        f"ws://{gunicorn.address}/live?topics=who:{browser.user.id}/card",
        origin=f"http://{gunicorn.address}",
        additional_headers={"Cookie": cookie_of(browser)},
        **more,
    )


def wait_for_name(ws, name) -> None:
    while re.search(r"<h2[^>]*>(.*?)<", ws.recv(timeout=10))[1] != name:
        pass


def rename(user_id, name) -> None:
    db.session.get(User, user_id).name = name
    live.touch(f"who:{user_id}")
    db.session.commit()


def test_a_change_reaches_sockets_of_a_gevent_worker_and_a_stop_sends_them_away_to_come_back(gunicorn, alice):
    with watch(gunicorn, alice) as one, watch(gunicorn, alice, compression=None) as two:
        wait_for_name(one, "Alice"), wait_for_name(two, "Alice")
        rename(alice.user.id, "Alice Liddell")
        wait_for_name(one, "Alice Liddell"), wait_for_name(two, "Alice Liddell")
        began = time.monotonic()
        gunicorn.process.terminate()
        with pytest.raises(ConnectionClosed) as caught:
            one.recv(timeout=20)
        assert caught.value.rcvd.code == 1012
    gunicorn.process.wait(40)
    assert time.monotonic() - began < 15  # well before the graceful timeout of 25 s
    gunicorn.start()
    with watch(gunicorn, alice) as again:
        wait_for_name(again, "Alice Liddell")


def test_a_browser_that_stops_reading_blocks_no_other_in_a_gevent_worker(gunicorn, alice):
    user_id = alice.user.id
    with watch(gunicorn, alice, max_queue=1) as slow, watch(gunicorn, alice) as quick:
        for number in range(40):
            name = f"{number}-" + "x" * 190
            rename(user_id, name)
            wait_for_name(quick, name)
        wait_for_name(slow, name)
