"""Live updates in a real Chromium: the fragment changes in the page, whatever the person does there."""

from __future__ import annotations

import time

import pytest

from app import live
from app.accounts.models import User
from app.db import db
from tests.browser.conftest import PATIENCE_MS, sign_in
from tests.live.gunicorn import Gunicorn

pytestmark = pytest.mark.browser


class Served(Gunicorn):
    """What `sign_in` needs to know."""

    def __init__(self, app):
        super().__init__(app.settings)
        self.app, self.url = app, f"http://{self.address}"


@pytest.fixture
def served(app):
    db.session.commit()
    server = Served(app)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def page(chromium, served, alice):
    context = chromium.new_context(base_url=served.url)
    context.set_default_timeout(PATIENCE_MS)
    sign_in(context, alice.user, served)
    page = context.new_page()
    page.goto(f"/who/{alice.user.id}")
    page.evaluate("window.loadedOnce = true")
    yield page
    assert page.evaluate("window.loadedOnce"), "the page was loaded again"
    context.close()


def rename(user_id, name) -> None:
    db.session.get(User, user_id).name = name
    live.touch(f"who:{user_id}")
    db.session.commit()


def shows(page, name, timeout: float = PATIENCE_MS) -> None:
    page.wait_for_function(
        "name => document.querySelector('#who-name').textContent === name", arg=name, timeout=timeout
    )


def test_a_change_is_seen_without_reload_and_leaves_focus_text_and_open_parts_alone(page, alice):
    shows(page, "Alice")
    page.click("#who-more summary")
    page.click("#who-note")
    page.keyboard.type("half a sen")
    for number in range(5):
        rename(alice.user.id, f"Alice {number}")
        shows(page, f"Alice {number}")
    page.keyboard.type("tence")
    assert page.input_value("#who-note") == "half a sentence"
    assert page.evaluate("document.activeElement.id") == "who-note"
    assert page.evaluate("document.querySelector('#who-more').open")
    assert page.locator("section").count() == 1
    assert page.evaluate("document.querySelector('section').parentNode.childNodes.length") == 1


def test_text_typed_and_left_is_kept_too(page, alice):
    page.fill("#who-note", "left alone")
    page.click("h1")
    rename(alice.user.id, "Alice L.")
    shows(page, "Alice L.")
    assert page.input_value("#who-note") == "left alone"


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_after_a_restart_of_the_server_the_page_shows_what_it_missed(page, served, alice, how):
    shows(page, "Alice")
    page.fill("#who-note", "kept")
    getattr(served, how)()
    rename(alice.user.id, "Missed")
    page.wait_for_selector("#live-state:not([hidden])")  # "Reconnecting"
    served.start()
    shows(page, "Missed", timeout=3 * PATIENCE_MS)  # the browser waits up to ten seconds between its tries
    page.wait_for_selector("#live-state", state="hidden")
    assert page.input_value("#who-note") == "kept"
    rename(alice.user.id, "And on")
    shows(page, "And on")


def test_signing_out_elsewhere_ends_the_updates_and_the_page_does_not_come_back(page, alice):
    from app.accounts import service

    rename(alice.user.id, "Alice L.")
    shows(page, "Alice L.")  # "Alice" came with the page; this came through the socket, so there is one to close
    page.evaluate("document.addEventListener('htmx:ws:close', (event) => { window.closedWith = event.detail.code; })")
    service.close_all_sessions(alice.user.id)
    db.session.commit()
    page.wait_for_function("() => window.closedWith === 1008")


def test_a_socket_script_that_comes_late_still_connects_the_page(page, alice):
    def late(route):
        time.sleep(0.5)  # a slow network; nothing waits for this
        route.continue_()

    page.route("**/hx-ws-*", late)
    with page.expect_event("websocket"):
        page.reload()
    page.evaluate("window.loadedOnce = true")
