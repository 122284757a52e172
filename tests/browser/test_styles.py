"""The style guide in a real browser: it fits, it is quiet, it can be used by keyboard, and axe finds nothing serious."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from app.lib.text import ago
from tests.browser.conftest import assert_accessible, assert_fits

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390, 360])
def test_every_fragment_fits_and_is_accessible(open_page, alice, width, scheme):
    page = open_page("/dev/styles", user=alice.user, width=width, scheme=scheme)
    expect(page.get_by_role("heading", level=1)).to_have_text("Styles")
    assert_fits(page)
    assert_accessible(page)


def test_the_keyboard_shows_where_it_is(open_page, alice):
    page = open_page("/dev/styles", user=alice.user)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    for _ in range(30):
        page.keyboard.press("Tab")
        shows = page.evaluate(
            """() => { const s = getComputedStyle(document.activeElement);
            return (s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2) || s.boxShadow !== 'none' }"""
        )
        assert shows, page.evaluate("document.activeElement.outerHTML.slice(0, 200)")


def test_a_dialog_opens_takes_the_focus_and_closes(open_page, alice):
    page = open_page("/dev/styles", user=alice.user)
    opener = page.locator("#dialogs ~ .cluster > [data-open=demo-confirm]")
    opener.click()
    dialog = page.get_by_role("dialog", name="Delete this video?")
    expect(dialog).to_be_visible()
    expect(dialog.get_by_role("button", name="Keep")).to_be_focused()
    assert_accessible(page)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(opener).to_be_focused()


def test_a_menu_opens_by_keyboard_and_closes_on_escape(open_page, alice):
    page = open_page("/dev/styles", user=alice.user)
    summary = page.locator("summary[aria-label=More]")
    summary.press("Enter")
    summary.press("ArrowDown")
    expect(page.get_by_role("link", name="Export", exact=True)).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("details:has(summary[aria-label=More])")).not_to_have_attribute("open", "")
    expect(summary).to_be_focused()


def test_the_theme_is_chosen_at_once_and_remembered(open_page, alice):
    page = open_page("/dev/styles", user=alice.user)
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_label("Account menu").click()
    page.get_by_role("button", name="Dark").click()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark != light
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_a_toast_comes_by_event_is_announced_and_closes(open_page, alice):
    page = open_page("/dev/styles", user=alice.user)
    page.evaluate(
        "document.body.dispatchEvent(new CustomEvent('toast', {bubbles: true, detail: {message: '<b>No</b>', tone: 'bad'}}))"
    )
    toast = page.locator("#toasts .toast-bad")
    expect(toast).to_contain_text("<b>No</b>")
    expect(page.locator("#toasts")).to_have_attribute("aria-live", "polite")
    toast.get_by_role("button", name="Close").click()
    expect(toast).to_have_count(0)


def test_motion_stops_for_those_who_ask(open_page, alice):
    page = open_page("/dev/styles", user=alice.user, reduced_motion="reduce")
    assert page.evaluate("parseFloat(getComputedStyle(document.querySelector('.icon-spin')).animationDuration)") < 0.001


def test_times_read_the_same_from_the_server_and_the_script(open_page, alice):
    page = open_page("/dev/styles", user=alice.user)
    noon = datetime(2026, 3, 12, 12, 0, tzinfo=UTC)
    steps = [
        0,
        44,
        45,
        46,
        90,
        119,
        120,
        3599,
        3600,
        7199,
        86399,
        86400,
        172799,
        172800,
        604799,
        604800,
        4e6,
        -50,
        -4000,
    ]
    moments = [noon - timedelta(seconds=step) for step in steps]
    script = page.evaluate(
        "([moments, now]) => moments.map(moment => throughline.ago(new Date(moment), new Date(now)))",
        [[moment.isoformat() for moment in moments], noon.isoformat()],
    )
    assert script == [ago(moment, noon) for moment in moments]


def test_a_slash_goes_to_the_filter_but_not_from_a_field(open_page, alice):
    page = open_page("/dev/styles", user=alice.user)
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Filter runs")).to_be_focused()
    page.keyboard.type("a/b")
    expect(page.get_by_role("searchbox", name="Filter runs")).to_have_value("a/b")
