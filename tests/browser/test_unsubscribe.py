"""The way out of a kind of mail, as whoever clicks the link in it goes it."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from app.accounts import queries, service
from app.db import db
from tests.browser.conftest import assert_accessible, assert_fits

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("width", "scheme", "has_script"), [(1440, "light", True), (390, "dark", False)])
def test_one_click_ends_the_mails_and_says_how_to_have_them_back(open_page, alice, width, scheme, has_script):
    path = urlsplit(service.unsubscribe_url(alice.user.id, "ready")).path
    page = open_page(path, width=width, scheme=scheme, java_script_enabled=has_script)
    expect(page.get_by_role("heading", level=1)).to_have_text("Stop these e-mails?")
    expect(page.locator("main")).to_contain_text("alice@example.org")
    assert queries.list_wanted_notices(alice.user.id) == {"ready", "failed"}, "opening it changes nothing"
    if has_script:
        assert_fits(page)
        assert_accessible(page)
    page.get_by_role("button", name="Unsubscribe").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("no more of these")
    if has_script:
        assert_accessible(page)
    db.session.rollback()
    assert queries.list_wanted_notices(alice.user.id) == {"failed"}
    page.get_by_role("link", name="Go to your e-mail settings").click()
    expect(page.get_by_label("E-mail address")).to_be_visible()


def test_a_forged_link_is_the_page_of_what_is_not_there(open_page, alice):
    page = open_page("/notices/unsubscribe/made-up")
    page.context.complaints.clear()  # Chromium logs a 404
    expect(page.get_by_text("There is nothing here")).to_be_visible()


def test_what_is_chosen_in_the_settings_is_kept(open_page, alice):
    page = open_page("/account/notices", user=alice.user)
    page.get_by_label("A video is ready").uncheck()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_label("A video is ready")).not_to_be_checked()
    expect(page.get_by_label("A video failed")).to_be_checked()
    db.session.rollback()
    assert queries.list_wanted_notices(alice.user.id) == {"failed"}
