"""The pages of runs in a real Chromium: live to the end, accessible, and the RQ dashboard without complaints."""

from __future__ import annotations

import re

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
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 900})
        for path in ("/admin/rq/", "/admin/rq/0/view/workers"):
            page.goto(path)
            page.wait_for_selector(".table tbody tr:not([data-role=loading-placeholder])")
            assert_fits(page)
            box = "[...document.querySelectorAll('.table-responsive-md')].every(b => b.scrollWidth <= b.clientWidth)"
            assert width < 700 or page.evaluate(box), path
    page.click("text=Back to the runs")
    page.wait_for_selector("h1:has-text('Runs')")
    hints.connection.close()


def test_an_input_that_cannot_be_used_stays_in_the_dialog(open_page, alice, make_run):
    run = make_run(alice)
    page = open_page(f"/runs/{run.id}", user=alice.user)
    page.click("text=Run again from here >> nth=1")
    page.fill("dialog[open] textarea", '["mended')
    page.click("dialog[open] button[type=submit]")
    page.wait_for_selector("dialog[open] .field-error")
    page.context.complaints.clear()  # it says that the answer was a 422
    assert page.locator("dialog:modal textarea").input_value() == '["mended'
    assert_accessible(page)
    page.fill("dialog[open] textarea", '["mended"]')
    page.click("dialog[open] button[type=submit]")
    page.wait_for_selector("text=Running again from measure")


def test_what_goes_on_and_what_comes_near_is_counted_without_reload(open_page, alice, demo):
    from app import engine
    from app.db import db

    @engine.workflow("napping", on="demo/napping")
    def napping(ctx, step):
        step.sleep("nap", "50m")

    engine.send("demo/napping", {}, owner_id=alice.user.id)
    db.session.commit()
    drain()
    run = engine.list_runs(owner_id=alice.user.id, workflow="napping", limit=1)[0]
    for path in (f"/runs/{run.id}", "/"):
        page = open_page(path, user=alice.user)
        for kind in ("since", "until") if path != "/" else ("until",):
            first = page.locator(f"time[data-{kind}]").first
            before = first.inner_text()
            changed = "([kind, before]) => document.querySelector(`time[data-${kind}]`).innerText !== before"
            page.wait_for_function(changed, arg=[kind, before])
            assert (seconds(first.inner_text()) > seconds(before)) is (kind == "since")


def seconds(words: str) -> int:
    """The seconds in "49 min 58 s" or "in 12 s"."""
    return sum(int(number) * (60 if unit == "min" else 1) for number, unit in re.findall(r"(\d+) (min|s)", words))
