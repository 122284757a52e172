"""What the pages of people and accounts do in a real browser; that they fit and are accessible: test_axe.py."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser


def test_the_menu_of_the_last_row_is_not_cut_off_by_its_card(open_page, root, alice):
    page = open_page(f"/admin/people?q={alice.user.email}", user=root.user)
    page.get_by_title(f"Change {alice.user.email}").click()
    last = page.locator("main details[open] .menu-item").last
    is_on_top = """e => { const box = e.getBoundingClientRect();
    return e.contains(document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2)) }"""
    assert last.evaluate(is_on_top)
