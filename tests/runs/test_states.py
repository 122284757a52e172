"""What the pages say of each state: durations that go on, no bar where nothing moves, errors once and with their place."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from app import engine
from app.db import db
from app.engine import NonRetriable, workflow
from app.engine.testing import clock, drain
from app.lib.clock import now
from app.runs import present
from app.ui import moment, since_element, until_element
from tests.accounts.pages import token

RUNS = "UPDATE run SET status = 'running', worker = 'w', lease_until = now() + interval '1 hour'"


def begin(person, name: str, **data):
    engine.send(f"demo/{name}", data, owner_id=person.user.id)
    db.session.commit()
    drain()
    return engine.list_runs(owner_id=person.user.id, workflow=name, limit=1)[0]


def page_of(person, run) -> str:
    return person.get(f"/runs/{run.id}").text


def words(page: str) -> str:
    """The page as it reads."""
    main = page.partition("<main")[2].partition("</main>")[0]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", main))


def fail_in_the_body(ctx, step):
    raise ValueError("the <body> broke")


def test_a_failure_in_the_body_says_that_it_was_there_and_at_which_try(alice, root):
    workflow("bodiless", on="demo/bodiless", retries=1)(fail_in_the_body)
    run = begin(alice, "bodiless")
    clock.advance(3600)
    drain()
    page = page_of(alice, run)
    assert "It failed in the body of the workflow, outside any step, at try 2 of it." in page
    assert "the &lt;body&gt; broke" in page
    assert "the &lt;body&gt; broke" not in page_of(root, run)


def test_the_traceback_of_a_body_is_on_the_run_page_and_not_in_the_api(alice, root, execute):
    workflow("bodiless", on="demo/bodiless", retries=0)(fail_in_the_body)
    run = begin(alice, "bodiless")
    kept = '{"class": "ValueError", "message": "broke", "traceback": "Traceback (most recent call last): secret-line"}'
    execute("UPDATE run SET error = CAST(:kept AS json) WHERE id = :id", kept=kept, id=run.id)
    assert "secret-line" in page_of(alice, run)
    assert "secret-line" not in page_of(root, run)
    answer = alice.get(f"/api/runs/{run.id}")
    assert answer.json["error"] == {"class": "ValueError", "message": "broke"}


def test_the_error_of_a_failed_run_is_written_once_and_names_its_step(alice, make_run):
    page = page_of(alice, make_run(alice, "broken"))
    assert "Its step measure failed." in page
    assert page.count("the measure &lt;broke&gt;") == 1


def test_a_step_that_was_tried_twice_tells_each_error(alice):
    errors = iter(["first trouble", "second trouble"])

    def shake():
        raise RuntimeError(next(errors))

    @workflow("shaky", on="demo/shaky", retries=1)
    def shaky(ctx, step):
        step.run("shake", shake)

    run = begin(alice, "shaky")
    clock.advance(3600)
    drain()
    page = page_of(alice, run)
    assert "first trouble" in page
    assert "second trouble" in page


def test_a_step_that_goes_on_does_not_say_took(alice):
    @workflow("napping", on="demo/napping")
    def napping(ctx, step):
        step.sleep("nap", "2h")

    page = page_of(alice, begin(alice, "napping"))
    assert re.search(r'sleeping for <time class="num" datetime="PT\d+S" data-since="[\d.]+">\d+ s</time>', page)
    assert re.search(r"Under way for</dt><dd[^>]*><time [^>]*data-since", page)
    assert "slept" not in page
    assert "took" not in page


def test_a_step_that_works_is_running_for_so_long(alice, execute):
    seen = []

    @workflow("working", on="demo/working")
    def working(ctx, step):
        step.run("look", lambda: seen.append(ctx.run_id))

    run = begin(alice, "working")
    execute(
        f"{RUNS}, finished_at = NULL, active = json_build_object('sew', CAST(:at AS text)) WHERE id = :id",
        at=(now() - timedelta(seconds=125)).isoformat(),
        id=run.id,
    )
    page = page_of(alice, run)
    assert re.search(r"running for <time [^>]*>2 min 5 s</time>", page)
    assert "about" not in words(page).partition("Steps")[0]


def test_a_run_that_says_no_progress_has_no_bar(alice, execute):
    @workflow("waits", on="demo/waits")
    def waits(ctx, step):
        step.wait_for_event("post", "demo/post", timeout="1h")

    run = begin(alice, "waits")
    assert "run-progress" not in page_of(alice, run)
    assert "<progress" not in alice.get("/").text.partition("Running now")[2].partition("Recent")[0]
    execute(f"{RUNS} WHERE id = :id", id=run.id)
    assert "run-progress" not in page_of(alice, run)
    assert "Starting" not in page_of(alice, run)


@pytest.mark.parametrize("status", ["running", "waiting", "paused"])
def test_only_a_run_that_executes_has_time_left_and_a_bar_of_unknown_length(alice, root, execute, status):
    @workflow("baking", on="demo/baking")
    def baking(ctx, step):
        step.wait_for_event("post", "demo/post", timeout="1h")

    run = begin(alice, "baking")
    said = '{"percent": 40.0, "message": "Kneading", "current_step": "knead", "eta_seconds": 36.0}'
    is_running = status == "running"
    change = RUNS if is_running else f"UPDATE run SET status = '{status}'"
    change += ", progress = CAST(:said AS json) WHERE id = :id"
    execute(change, said=said, id=run.id)
    for page in (page_of(alice, run), alice.get("/").text):
        assert 'value="40.0"' in page
        assert ("about 36 s left" in page) is is_running
    assert "Kneading" not in page_of(root, run)
    execute(change, said='{"percent": null, "message": "Kneading"}', id=run.id)
    assert ("run-progress" in page_of(alice, run)) is is_running
    assert "run-progress" not in page_of(root, run)


def test_a_paused_workflow_is_not_a_place_in_a_queue(alice, make_run):
    run = make_run(alice, done=False)
    engine.pause_workflow("demo")
    db.session.commit()
    page = words(page_of(alice, run))
    assert "The workflow demo is paused" in page
    assert "as of" not in page
    assert "The workflow demo is paused" in alice.get("/").text
    assert "free worker" not in alice.get("/").text
    engine.resume_workflow("demo")
    db.session.commit()


def test_what_comes_soon_is_told_to_the_second():
    soon = now() + timedelta(seconds=12.5)
    assert re.search(r"\(<time [^>]*data-until=\"12\.\d\">in 12 s</time>\)", moment(soon))
    assert "in 5 min" in until_element(now() + timedelta(seconds=305))
    assert "in 2 h" in until_element(now() + timedelta(seconds=7205))
    assert ">now<" in until_element(now() - timedelta(seconds=3))
    assert ">3 h 20 min<" in since_element(12_000)


def test_every_row_of_the_list_says_what_it_is_about_to_its_owner_only(alice, root, make_run):
    run = make_run(alice, "A1")
    assert "thing:A1" in alice.get("/runs").text
    assert "thing:A1" in page_of(alice, run)
    assert "thing:A1" not in root.get("/runs?of=everyone").text
    assert "thing:A1" not in page_of(root, run)


@pytest.mark.parametrize("text", ['["mended', '{"a": "<i>"}'])
def test_an_input_that_cannot_be_used_stays_in_its_dialog_with_a_sentence(alice, make_run, text):
    run = make_run(alice)
    form = {"csrf_token": token(alice.get("/runs")), "step": "measure", "input": text}
    answer = alice.post(f"/runs/{run.id}/rerun", data=form)
    assert answer.status_code == 422
    page = answer.text
    (opened,) = re.findall(r"<dialog[^>]* open>.*?</dialog>", page, re.DOTALL)
    assert "Run again from measure" in opened
    assert str(present.escape(text)) in opened
    assert "The input was not used" in opened
    assert "Go back" not in opened
    assert page.count("The input was not used") == 1
    assert "hx-ws:connect" not in page


def test_a_refused_input_of_a_strangers_run_shows_nothing(charlie, alice, make_run):
    run = make_run(alice)
    form = {"csrf_token": token(charlie.get("/runs")), "step": "measure", "input": "{"}
    assert charlie.post(f"/runs/{run.id}/rerun", data=form).status_code == 404


def test_a_deliberate_end_in_the_body_names_the_body_too(alice):
    @workflow("refusing", on="demo/refusing")
    def refusing(ctx, step):
        raise NonRetriable("Not today.")

    page = page_of(alice, begin(alice, "refusing"))
    assert "outside any step, at try 1 of it" in page
