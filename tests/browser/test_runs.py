"""The pages of runs in a real Chromium: live to the end, accessible, and the RQ dashboard without complaints."""

from __future__ import annotations

import pytest

from app.engine.testing import drain
from tests.browser.conftest import assert_accessible, assert_fits
from tests.runs.conftest import *  # noqa: F403

pytestmark = pytest.mark.browser


def test_a_run_is_watched_to_its_end_without_reload(open_page, alice, make_run):
    run = make_run(alice, done=False)
    page = open_page(f"/runs/{run.id}", user=alice.user)
    page.evaluate("window.loadedOnce = true")
    page.wait_for_selector("text=No steps yet")
    drain()
    page.wait_for_selector(".page-title-row .chip-ok")
    assert page.locator(".run-step").count() == 2
    assert page.evaluate("window.loadedOnce")
    page.click("text=Run again from here >> nth=1")
    page.fill("dialog[open] textarea", '["mended"]')
    page.click("dialog[open] button[type=submit]")
    page.wait_for_selector("text=Running again from measure")
    drain()
    page.wait_for_selector(".page-title-row .chip-ok")


@pytest.mark.parametrize("width", [1440, 390])
def test_the_pages_fit_and_can_be_used_by_all(open_page, alice, make_run, width):
    run = make_run(alice, "broken")
    for path in (f"/runs/{run.id}", "/runs"):
        page = open_page(path, user=alice.user, width=width)
        assert_fits(page)
        assert_accessible(page)


def test_the_rq_dashboard_fills_its_tables(open_page, root, app):
    from app.engine.testing import Hints

    hints = Hints(app.settings.redis_url, app.settings.redis_namespace)
    hints.give([("demo", "01a202c7-71aa-719e-8e02-f6a6765b7c30")])
    page = open_page("/admin/rq/", user=root.user)
    page.wait_for_selector(f"text={hints.queue.name}")
    page.goto(f"/admin/rq/0/view/jobs/{hints.queue.name}/queued/8/asc/1")
    page.wait_for_selector("text=demo 01a202c7")
    page.context.complaints[:] = [one for one in page.context.complaints if "favicon" not in one and "404" not in one]
    hints.connection.close()
