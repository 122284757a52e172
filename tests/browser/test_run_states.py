"""Every change of a run's state reaches its page without a reload; and its buttons do what they say."""

from __future__ import annotations

import threading

import pytest

from app import engine
from app.db import db
from app.engine import workflow
from app.engine.testing import clock, drain
from tests.browser.conftest import assert_accessible, assert_fits
from tests.runs.conftest import *  # noqa: F403

pytestmark = pytest.mark.browser


def begin(name: str, person):
    engine.send(f"demo/{name}", {"order": 7}, owner_id=person.user.id)
    db.session.commit()
    return engine.list_runs(owner_id=person.user.id, workflow=name, limit=1)[0]


def says(page, text: str, within: str = "main") -> None:
    page.wait_for_function(
        "([where, text]) => document.querySelector(where)?.innerText.includes(text)", arg=[within, text]
    )


def chip(page, words: str) -> None:
    says(page, words, ".page-title-row")


@pytest.fixture
def day():
    """A workflow that comes by every state that a run can wait in."""

    @workflow("errand", on=())
    def errand(ctx, step):
        step.sleep("walk", "10m")

    @workflow("day", on="demo/day")
    def day(ctx, step):
        step.sleep("morning", "2h")
        ctx.log.info("Awake", cups=2)
        ctx.meta.set("mood", "calm")
        step.wait_for_event("post", "demo/post", match="data.order", timeout="1d")
        step.invoke("fetch", errand)
        return "home"


def test_a_run_is_followed_through_its_states_without_reload(open_page, alice, day):
    run = begin("day", alice)
    page = open_page(f"/runs/{run.id}", user=alice.user)
    page.evaluate("window.loadedOnce = true")
    chip(page, "Queued")
    drain()
    says(page, "It sleeps until")
    says(page, "Sleeping", "#step-morning")
    engine.pause(run.id)
    db.session.commit()
    chip(page, "Paused")
    says(page, "Somebody has paused this run")
    engine.resume(run.id)
    db.session.commit()
    drain()
    says(page, "It sleeps until")
    clock.advance(2 * 3600 + 1)
    drain()
    says(page, "It waits for the event demo/post, until")
    says(page, "Done", "#step-morning")
    says(page, "Waiting", "#step-post")
    says(page, "Awake cups=2", "#run-log")
    says(page, "calm", "#run-meta")
    engine.send("demo/post", {"order": 7}, owner_id=alice.user.id)
    drain()
    says(page, "It waits for the run that its step fetch has started")
    child = engine.list_runs(workflow="errand")[0]
    assert page.locator(f"#step-fetch a[href='/runs/{child.id}']").count() == 1
    drain(advance=True)
    chip(page, "Done")
    says(page, "The run that it started", "#step-fetch")
    assert page.locator("#run-waiting").count() == 0
    assert page.evaluate("window.loadedOnce")
    page.click("text=The run that it started")
    page.wait_for_selector("text=The run that started this one")


def test_a_step_that_is_tried_again_says_when_and_stops_with_its_run(open_page, alice, demo):
    @workflow("late", on="demo/late")
    def late(ctx, step):
        step.run("call", put_off)

    run = begin("late", alice)
    page = open_page(f"/runs/{run.id}", user=alice.user)
    drain()
    says(page, "Trying again", "#step-call")
    says(page, "(in ", "#step-call")
    engine.cancel(run.id)
    db.session.commit()
    chip(page, "Cancelled")
    says(page, "Stopped", "#step-call")


def put_off():
    raise engine.RetryAfter(600, "Not now.")


def test_the_list_follows_runs_that_are_paused_held_back_and_skipped(open_page, alice, demo):
    @workflow("rare", on="demo/rare", rate_limit=engine.RateLimit(1, "1h"))
    def rare(ctx, step):
        pass

    @workflow("gather", on="demo/gather", debounce=engine.Debounce("5m"))
    def gather(ctx, step):
        pass

    begin("rare", alice)
    page = open_page("/runs", user=alice.user)
    page.evaluate("window.loadedOnce = true")
    says(page, "Queued", "#runs-list")
    begin("rare", alice)
    says(page, "Skipped", "#runs-list")
    held = begin("gather", alice)
    says(page, "Held back", "#runs-list")
    engine.pause(held.id)
    db.session.commit()
    says(page, "Paused", "#runs-list")
    assert page.evaluate("window.loadedOnce")


def test_pause_resume_try_anew_and_replay_are_buttons_that_ask_first_where_it_matters(
    open_page, alice, make_run, execute
):
    run = make_run(alice, done=False)
    page = open_page(f"/runs/{run.id}", user=alice.user)
    page.click("text=Pause")
    assert_accessible(page)
    page.click("dialog[open] >> text=Let it go on")
    assert engine.get_run(run.id).status == "queued"
    db.session.rollback()
    page.click("text=Pause")
    page.click("dialog[open] button[type=submit]")
    chip(page, "Paused")
    page.click("text=Resume")
    page.wait_for_selector("text=The run goes on.")
    execute("UPDATE run SET status = 'dead', finished_at = now(), recoveries = 6 WHERE id = :id", id=run.id)
    page.reload()
    chip(page, "Given up")
    page.click("text=Try anew")
    page.wait_for_selector("text=The run tries anew.")
    drain()
    chip(page, "Done")
    page.click("text=Replay")
    page.click("dialog[open] button[type=submit]")
    page.wait_for_selector("text=The run that this one repeats")
    drain()
    chip(page, "Done")


def test_a_run_that_executes_says_that_it_is_about_to_pause_and_then_that_it_is_paused(open_page, app, alice, demo):
    begun, gate = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert gate.wait(30)

    @workflow("long", on="demo/long")
    def long(ctx, step):
        step.run("hold", hold)
        step.run("after", lambda: None)

    def work() -> None:
        with app.app_context():
            drain()

    run = begin("long", alice)
    worker = threading.Thread(target=work)
    worker.start()
    try:
        assert begun.wait(30)
        page = open_page(f"/runs/{run.id}", user=alice.user)
        page.evaluate("window.loadedOnce = true")
        chip(page, "Running")
        engine.pause(run.id)
        db.session.commit()
        says(page, "Pausing", ".page-actions")
        says(page, "Resume", ".page-actions")
    finally:
        gate.set()
        worker.join()
    chip(page, "Paused")
    says(page, "Done", "#step-hold")
    assert page.locator("#step-after").count() == 0
    assert page.evaluate("window.loadedOnce")


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_of_a_run_that_waits_and_has_said_much_fits_and_can_be_used_by_all(
    open_page, alice, demo, width, scheme
):
    @workflow("talkative-" + "x" * 60, on="demo/talkative")
    def talkative(ctx, step):
        for number in range(30):
            ctx.log.warning("w" * 200, field="f" * 200, number=number)
        ctx.meta.set("key" * 20, ["value"] * 40)
        ctx.meta.set("long", "v" * 300)
        step.wait_for_event("s" * 80, "demo/" + "e" * 100, timeout="1h")

    engine.send("demo/talkative", {}, owner_id=alice.user.id)
    drain()
    run = engine.list_runs(owner_id=alice.user.id, limit=1)[0]
    page = open_page(f"/runs/{run.id}", user=alice.user, width=width, scheme=scheme)
    assert_fits(page)
    assert_accessible(page)
