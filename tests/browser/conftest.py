"""Fixtures for tests that drive a real Chromium against the real app on a loopback port.

`live_server` serves the app of the `app` fixture; `open_page` opens a page of a person at a size and a colour scheme.
Whatever a page complains about (console errors, uncaught exceptions, refused by the CSP) fails its test at the end,
unless the test says `page.context.complaints.clear()` where it expects them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page
from werkzeug.serving import WSGIRequestHandler, make_server

from app.accounts.models import User
from app.db import db
from app.live.bus import EXTENSION
from app.web import Throughline
from tests import factories

AXE = Path(__file__).parent / "vendor" / "axe-core-4.14.1.min.js"
PATIENCE_MS = 30_000  # a pass never waits so long; a busy machine may


class QuietHandler(WSGIRequestHandler):
    """Serves without a line in the log for each request."""

    def log(self, *_args: object, **_kwargs: object) -> None:
        pass


# Chromium says so when a page, or a part of it that changed what it watches, goes while its socket is still opening.
LEFT_EARLY = "WebSocket is closed before the connection is established"


class LiveServer:
    """The app on a free loopback port, one thread a request; `stop` waits for the requests under way."""

    def __init__(self, app: Throughline) -> None:
        self.app = app
        self._under_way = 0
        self._changed = threading.Condition()
        self._server = make_server("127.0.0.1", 0, self._serve, threaded=True, request_handler=QuietHandler)
        self._count_connections()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._settings = app.settings
        app.settings = app.settings.but(public_url=self.url, port=self._server.server_port)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def _serve(self, environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        answer = self.app.wsgi_app(environ, start_response)
        try:
            yield from map(bytes, answer)  # not `answer` itself, which would then be closed twice
        finally:  # here, since the server forgets to close an answer whose reader has gone, and its file stays open
            getattr(answer, "close", lambda: None)()

    def _count_connections(self) -> None:
        """Count from the moment a connection is accepted: its request may be read only after the server has stopped."""
        begin, work = self._server.process_request, self._server.process_request_thread

        def counted(change: int) -> None:
            with self._changed:
                self._under_way += change
                self._changed.notify_all()

        def process_request(request: Any, address: Any) -> None:
            counted(+1)
            begin(request, address)

        def process_request_thread(request: Any, address: Any) -> None:
            try:
                work(request, address)
            finally:
                counted(-1)

        self._server.process_request = process_request
        self._server.process_request_thread = process_request_thread

    def stop(self) -> None:
        """Stop serving; the next test empties the tables, so nothing may still hold a transaction."""
        self._server.shutdown()
        self._thread.join()
        with self._changed:
            is_idle = self._changed.wait_for(lambda: self._under_way == 0, timeout=10)
        is_idle = is_idle and self.app.extensions[EXTENSION].wait_until_idle(10)
        self._server.server_close()
        self.app.settings = self._settings
        assert is_idle, "a request, socket or live rendering was still open 10 s after the browser had left"


@pytest.fixture
def live_server(app: Throughline) -> Iterator[LiveServer]:
    """The app of this test, reachable at `live_server.url`."""
    server = LiveServer(app)
    yield server
    server.stop()


@pytest.fixture
def open_page(chromium: Browser, live_server: LiveServer) -> Iterator[Callable[..., Page]]:
    """Open a page: `open_page("/path", user=..., width=1440, height=900, scheme="light" | "dark", **of_context)`."""
    contexts: list[BrowserContext] = []

    def open_one(
        path: str = "/",
        *,
        user: User | None = None,
        width: int = 1440,
        height: int = 900,
        scheme: str = "light",
        **more: Any,
    ) -> Page:
        context = chromium.new_context(
            base_url=live_server.url,
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            **more,
        )
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        if user is not None:
            sign_in(context, user, live_server)
        page = context.new_page()
        context.complaints = listen(page)
        db.session.commit()  # the server has a session of its own: it sees only what is committed
        page.goto(path)
        return page

    yield open_one
    complaints = [complaint for context in contexts for complaint in context.complaints]
    for context in contexts:
        context.close()
    assert not complaints, "\n".join(complaints)


def listen(page: Page) -> list[str]:
    complaints: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and LEFT_EARLY not in message.text:
            complaints.append(f"{page.url}: {message.text}")

    page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
    page.on("console", hear)
    return complaints


def sign_in(context: BrowserContext, user: User, server: LiveServer) -> None:
    """Sign `user` in on this browser context."""
    client = factories.sign_in(server.app.test_client(), user)
    name = server.app.config["SESSION_COOKIE_NAME"]
    cookie = client.get_cookie(name)
    assert cookie is not None
    context.add_cookies([{"name": name, "value": cookie.value, "url": server.url, "httpOnly": True}])


def assert_accessible(page: Page, *, within: str = "body") -> None:
    """Fail when axe-core finds anything serious or critical on the page (WCAG 2.2 A and AA, best practices)."""
    found = serious_findings(page, within=within)
    assert not found, f"{page.url}\n" + "\n".join(found)


def serious_findings(page: Page, *, within: str = "body", rules: tuple[str, ...] = ()) -> list[str]:
    """Return what axe-core finds serious or critical on the page; with `rules` only these are looked at."""
    if not page.evaluate("typeof window.axe === 'object'"):
        page.evaluate(AXE.read_text(encoding="utf-8"))  # by evaluation, which the page's CSP does not govern
    result = page.evaluate(
        """([within, rules]) => axe
        .run(within, {resultTypes: ['violations'], ...(rules.length ? {runOnly: {type: 'rule', values: rules}} : {})})
        .then(found => JSON.stringify(found.violations))""",
        [within, rules],
    )
    return [
        f"{violation['impact']}: {violation['help']}: "
        + "; ".join(node["html"][:160] for node in violation["nodes"][:4])
        for violation in json.loads(result)
        if violation["impact"] in ("serious", "critical")
    ]


def assert_fits(page: Page) -> None:
    """Fail when the page scrolls sideways."""
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"{page.url} is {wide} px wider than the window of {page.viewport_size}"
