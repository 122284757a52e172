"""Every page of a signed-in person: it fits a phone and a desktop, complains of nothing, and axe finds nothing serious."""

from __future__ import annotations

import pytest

from tests.browser.conftest import assert_accessible, assert_fits
from tests.home.test_home import make_video

pytestmark = pytest.mark.browser

PAGES = (
    "/videos",
    "/videos?status=failed",
    "/upload",
    "/search",
    "/search?q=harbour",
    "/runs",
    "/account",
    "/account/sessions",
    "/account/keys",
    "/account/usage",
    "/account/notices",
)
ADMIN_PAGES = ("/runs", "/admin/people", "/dev/outbox")


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_every_page_fits_and_is_accessible(open_page, alice, width, scheme):
    make_video(alice.user.id, "A title that is far too long to stand in one line on any telephone " * 3)
    make_video(alice.user.id, "Broken", status="failed", error_message="There is no sound in it.")
    page = open_page("/", user=alice.user, width=width, scheme=scheme)
    for path in PAGES:
        answer = page.goto(path)
        assert answer is not None
        assert answer.ok, path
        assert_fits(page)
        assert_accessible(page)


@pytest.mark.parametrize(("width", "scheme"), [(1440, "dark"), (390, "light")])
def test_every_administrators_page_fits_and_is_accessible(open_page, root, width, scheme):
    page = open_page("/", user=root.user, width=width, scheme=scheme)
    for path in ADMIN_PAGES:
        answer = page.goto(path)
        assert answer is not None
        assert answer.ok, path
        assert_fits(page)
        assert_accessible(page)


def test_the_menu_of_the_last_row_is_not_cut_off_by_its_card(open_page, root, alice):
    page = open_page(f"/admin/people?q={alice.user.email}", user=root.user)
    page.get_by_title(f"Change {alice.user.email}").click()
    last = page.locator("main details[open] .menu-item").last
    is_on_top = """e => { const box = e.getBoundingClientRect();
    return e.contains(document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2)) }"""
    assert last.evaluate(is_on_top)
