"""Home and the landing page in a real browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from app import live
from app.db import db
from tests.browser.conftest import assert_accessible, assert_fits
from tests.home.test_home import make_video

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark"), (360, "light")])
def test_the_landing_page_fits_and_is_accessible(open_page, width, scheme):
    page = open_page("/", width=width, scheme=scheme)
    expect(page.get_by_role("button", name="Send me a link")).to_be_visible()
    assert_fits(page)
    assert_accessible(page)


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark"), (360, "light")])
def test_home_fits_and_is_accessible(open_page, alice, width, scheme):
    make_video(alice.user.id, "A title that is far too long to stand in one line on any telephone " * 3)
    make_video(alice.user.id, "At work", status="transcribing")
    make_video(alice.user.id, "Broken", status="failed", error_message="There is no sound in it.")
    page = open_page("/", user=alice.user, width=width, scheme=scheme)
    assert_fits(page)
    assert_accessible(page)


@pytest.mark.parametrize("width", [1440, 360])
def test_a_title_of_one_long_word_stays_inside_its_card(open_page, alice, width):
    make_video(alice.user.id, "a" * 200, status="transcribing")
    make_video(alice.user.id, "a" * 200, status="failed", error_message="There is no sound in it.")
    page = open_page("/", user=alice.user, width=width)
    for row in page.locator(".row-item").all():
        edge = row.bounding_box()
        for part in row.locator(".row-title, .progress-words, .progress, .chip, .btn").all():
            box = part.bounding_box()
            assert box["x"] + box["width"] <= edge["x"] + edge["width"], part.evaluate("e => e.outerHTML")


def test_what_finishes_moves_without_a_reload(open_page, alice):
    video = make_video(alice.user.id, status="embedding")
    page = open_page("/", user=alice.user)
    expect(page.get_by_role("region", name="Running now")).to_contain_text("How rivers find the sea")
    page.evaluate("window.isTheSamePage = true")
    video.status = "completed"
    live.touch(f"runs:{alice.user.id}")
    db.session.commit()
    expect(page.get_by_role("region", name="Running now")).to_have_count(0)
    expect(page.get_by_role("region", name="Recent")).to_contain_text("How rivers find the sea")
    assert page.evaluate("window.isTheSamePage")


def test_the_sign_of_a_lost_connection_comes_and_goes(open_page, alice, live_server):
    make_video(alice.user.id)
    page = open_page("/", user=alice.user)
    page.add_init_script("document.addEventListener('htmx:ws:after:connection', () => { window.isConnected = true; })")
    page.reload()
    page.wait_for_function("() => window.isConnected")  # or the real connection hides the sign again
    expect(page.locator("#live-state")).to_be_hidden()
    page.evaluate(
        "document.body.dispatchEvent(new CustomEvent('htmx:ws:close', {bubbles: true, detail: {reason: 'closed'}}))"
    )
    expect(page.locator("#live-state")).to_be_visible()
    page.evaluate("document.body.dispatchEvent(new CustomEvent('htmx:ws:after:connection', {bubbles: true}))")
    expect(page.locator("#live-state")).to_be_hidden()


def test_signing_in_and_the_menu_work_without_javascript(open_page, alice):
    page = open_page("/", java_script_enabled=False)
    page.get_by_label("E-mail").fill("ada@example.org")
    page.get_by_role("button", name="Send me a link").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert page.url.endswith("/sign-in/code")
    page = open_page("/", user=alice.user, java_script_enabled=False)
    page.get_by_label("Account menu").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
