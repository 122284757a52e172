"""Every page there is, found by the url_map: axe-core finds nothing serious in it, and it fits.

At 1440 and 390 px, light and dark; full and empty, running and failed, with long titles, and with every menu and dialog
open. The pages come from the access table, which holds every rule of the url_map (tests/access/test_pages.py), so a new
page is looked at as soon as it exists.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from app import engine
from app.accounts import service as accounts
from app.accounts.models import User
from app.db import db
from app.engine.testing import clock
from app.extensions import redis_client
from app.lib.ids import new_id
from app.settings import Settings
from app.videos.models import Outline, Video
from app.web import Throughline
from tests import schema
from tests.access import world as worlds
from tests.access.filling import addresses, body
from tests.access.table import TABLE, Line
from tests.access.world import World
from tests.browser.conftest import PATIENCE_MS, LiveServer, assert_fits, listen, serious_findings, sign_in
from tests.home.test_home import make_video

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

WIDE, NARROW = (1440, 900), (390, 844)
CONTRAST = ("color-contrast", "link-in-text-block")  # what the colour scheme can change
# A colour on its way to another one has no contrast to speak of.
STILL = """() => { const still = new CSSStyleSheet();
still.replaceSync('*, *::before, *::after, *::backdrop { transition: none !important; animation: none !important }');
document.adoptedStyleSheets.push(still) }"""
LONG = "A title that is far too long to stand in one line on any telephone, and goes on and on " * 2

# Whole pages that are not looked at, and why.
LEFT_OUT = {
    "/admin/rq": "the dashboard of RQ itself, which is not ours",
    "/dev/outbox/<mail_id>/html": "a mail as mail programs get it, laid out by tables",
}
# Pages that nobody can simply open, and where they are looked at.
ELSEWHERE = {"/sign-in/code": "STATES"}


@dataclass
class House:
    """The world of the access tests, served to browsers."""

    world: World
    server: LiveServer
    chromium: Browser


@pytest.fixture(scope="module")
def house(
    _app: Throughline, settings: Settings, chromium: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """Alice, who has everything in every state; Charlie, who has nothing; Root; one server and one browser."""
    with _app.app_context():
        schema.empty(db.engine)
        with redis_client(settings) as connection:
            connection.flushdb()
        world = worlds.make(_app, tmp_path_factory.mktemp("world"))
        furnish(world)
        server = LiveServer(_app)
        yield House(world, server, chromium)
        server.stop()
        world.close()
        db.session.rollback()
        clock.reset()
        db.session.remove()


def furnish(world: World) -> None:
    """Add what the access tests do not need: more states, long words, and something used."""
    alice = world.things["alice"]
    world.things["at work"] = make_video(alice, "At work", status="transcribing").id
    world.things["long"] = make_video(alice, LONG, status="failed", error_message="There is no sound in it.").id
    make_video(alice, "w" * 200, status="embedding")
    video = db.session.get(Video, world.things["video"])
    chapters = [{"segment": 0, "start_seconds": 0.0, "title": LONG}]
    about = {"transcript_id": video.transcript_id, "summary": LONG, "chapters": chapters, "model": "a-model"}
    db.session.merge(Outline(video_id=video.id, run_id=new_id(), **about))  # the world's own was made by a model
    spent = {"kind": "transcription", "model": "a-model", "quantity": 60, "unit": "seconds"}
    accounts.record_usage(alice, microusd=world.app.settings.budget_person_microusd, **spent)
    failed = engine.list_runs(owner_id=alice, status="failed", limit=1)[0]
    world.things["failed run"] = failed.id
    db.session.commit()


# ---- Which pages ----


def pages_of(house: House, who: str) -> list[str]:
    """Return the addresses of all whole pages that somebody can open; what only Root can open is Root's alone."""
    found = []
    for line in TABLE:
        if line.method == "GET" and _is_theirs(line, who) and not line.rule.startswith(tuple(LEFT_OUT)):
            rule = next(each for each in house.world.app.url_map.iter_rules() if each.rule == line.rule)
            query = body(house.world, rule.endpoint).get("query_string", {})
            for address in addresses(house.world, rule, who):
                answer = house.world.ask(who, "GET", address, query_string=query)
                if answer.mimetype == "text/html" and "<!doctype html>" in answer.get_data(as_text=True):
                    found.append(address + ("?" + "&".join(f"{k}={v}" for k, v in query.items()) if query else ""))
    return found


def _is_theirs(line: Line, who: str) -> bool:
    if who == "root":
        return line.statuses["root"] == 200 != line.statuses["alice"]
    if who == "charlie" and line.statuses["nobody"] == 200 and line.rule != "/":
        return False  # the same to everybody
    return line.statuses[who] == 200


def test_what_is_left_out_is_there_and_what_nobody_can_open_is_looked_at_elsewhere():
    rules = {line.rule for line in TABLE}
    for rule in (*LEFT_OUT, *ELSEWHERE):
        assert any(each.startswith(rule) for each in rules), rule
    closed = {line.rule for line in TABLE if line.method == "GET" and 200 not in line.statuses.values()}
    redirects = {line.rule for line in TABLE if line.method == "GET" and set(line.statuses.values()) == {308}}
    not_pages = {"/live", "/metrics", "/readyz", "/admin/rq/requeue/<queue_name>"}
    assert closed - redirects - not_pages == set(ELSEWHERE)


# ---- The states that have no address of their own ----


def ask_for_a_code(page: Page) -> None:
    page.goto("/sign-in")
    page.get_by_label("E-mail address").fill("somebody@example.org")
    page.get_by_role("button", name="Send me a link").click()
    expect(page.get_by_label("Six-digit code")).to_be_visible()


def sign_in_without_an_address(page: Page) -> None:
    page.goto("/sign-in")
    page.get_by_role("button", name="Send me a link").click()
    expect(page.locator(".field-error")).to_be_visible()


def open_what_is_not_there(page: Page) -> None:
    page.goto("/nothing-here")


def find_nothing(page: Page) -> None:
    page.goto("/search?q=zeppelin")
    expect(page.get_by_role("heading", name="Nothing found")).to_be_visible()


def filter_all_away(page: Page) -> None:
    page.goto("/videos?q=zeppelin")


def offer_to_undo(page: Page) -> None:
    page.goto("/videos")
    deleted = page.context.world.things["deleted"]
    page.goto(f"/videos?deleted={deleted}")
    expect(page.get_by_role("button", name="Undo")).to_be_visible()


def show(name: str, path: str = "/videos/{}") -> Callable[[Page], None]:
    """Open the page of one of Alice's things."""

    def go(page: Page) -> None:
        page.goto(path.format(page.context.world.things[name]))

    go.__name__ = name.replace(" ", "_")
    return go


def make_a_key(page: Page) -> None:
    page.goto("/account/keys")
    page.get_by_label("What is it for?").fill("A look")
    page.get_by_role("button", name="Create a key").click()
    expect(page.locator("#new-key")).to_be_visible()


def upload_nothing(page: Page) -> None:
    page.goto("/upload")
    page.evaluate("document.getElementById('upload').submit()")
    expect(page.get_by_role("alert")).to_be_visible()


def set_strange_limits(page: Page) -> None:
    page.goto(f"/admin/people/{page.context.world.things['charlie']}/limits")
    page.get_by_label("Dollars a month").fill("-1")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".field-error")).to_be_visible()


STATES: dict[str, tuple[Callable[[Page], None], ...]] = {
    "nobody": (ask_for_a_code, sign_in_without_an_address, open_what_is_not_there),
    "alice": (
        find_nothing,
        filter_all_away,
        offer_to_undo,
        show("at work"),
        show("failed"),
        show("paused"),
        show("long"),
        show("failed run", "/runs/{}"),
        show("waiting run", "/runs/{}"),
        show("paused run", "/runs/{}"),
        make_a_key,
        upload_nothing,
    ),
    "charlie": (open_what_is_not_there,),
    "root": (set_strange_limits,),
}


# ---- Looking ----


@pytest.mark.parametrize("who", STATES)
def test_every_page_fits_and_axe_finds_nothing_serious(house: House, who: str):
    context = house.chromium.new_context(base_url=house.server.url, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE_MS)
    context.world = house.world
    if who != "nobody":
        sign_in(context, db.session.get(User, house.world.things[who]), house.server)
        db.session.commit()
    page = context.new_page()
    complaints = listen(page)
    found: list[str] = []
    addresses_of = pages_of(house, who)
    assert len(addresses_of) >= 3
    for address in addresses_of:
        answer = page.goto(address)
        assert answer is not None
        assert answer.ok, (address, answer.status)
        found += look(page, address)
    for state in STATES[who]:
        state(page)
        found += look(page, state.__name__)
        page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
    context.close()
    refused = "Failed to load resource"  # a 404 or 422 that a state asked for
    assert not found, "\n".join(found)
    assert [each for each in complaints if refused not in each] == []


def look(page: Page, name: str) -> list[str]:
    """Look at a page in both sizes and schemes as it is, then with its menus and each of its dialogs open."""
    found: list[str] = []
    page.evaluate(STILL)
    for scheme in ("light", "dark"):
        paint(page, scheme)
        for width, height in (WIDE, NARROW):
            page.set_viewport_size({"width": width, "height": height})
            assert_fits(page)
            rules = CONTRAST if scheme == "dark" else ()
            found += [f"{name} {width} {scheme}: {each}" for each in serious_findings(page, rules=rules)]
            keep_picture(page, f"{name} {width} {scheme}")
    found += [f"{name} open: {each}" for each in look_into_menus(page)]
    return found + [f"{name} open: {each}" for each in look_into_dialogs(page)]


def paint(page: Page, scheme: str) -> None:
    """Change the colours, and wait until they are on the screen."""
    page.emulate_media(color_scheme=scheme)
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def look_into_menus(page: Page) -> list[str]:
    """Open what unfolds; here on a phone in the dark, and contrast also in the light."""
    if not page.evaluate("[...document.querySelectorAll('details')].map(each => { each.open = true }).length"):
        return []
    found = serious_findings(page)
    paint(page, "light")
    found += serious_findings(page, rules=CONTRAST)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = false })")
    return found


def look_into_dialogs(page: Page) -> list[str]:
    found: list[str] = []
    for identity in page.evaluate("[...document.querySelectorAll('dialog[id]')].map(each => each.id)"):
        page.evaluate("id => document.getElementById(id).showModal()", identity)
        assert_fits(page)
        for scheme in ("light", "dark"):
            paint(page, scheme)
            rules = CONTRAST if scheme == "dark" else ()
            found += serious_findings(page, within=f'dialog[id="{identity}"]', rules=rules)
        page.evaluate("id => document.getElementById(id).close()", identity)
    return found


def keep_picture(page: Page, name: str) -> None:
    """Keep a picture for whoever looks (SCREENSHOTS=folder)."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name.replace('/', '_')[:100]}.png"))
