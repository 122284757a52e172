"""What people do to runs: pause, resume, try anew, replay, on the pages and through the API."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from app import engine
from app.db import db
from app.engine import workflow
from app.engine.testing import drain
from app.runs import queries
from app.runs.models import AuditEntry
from tests.accounts.pages import token


def post(browser, path):
    return browser.post(path, data={"csrf_token": token(browser.get("/runs"))})


def call(browser, path):
    return browser.post(f"/api{path}", headers={"X-CSRFToken": token(browser.get("/runs"))})


def actions() -> list[str]:
    return list(db.session.scalars(sa.select(AuditEntry.action).order_by(AuditEntry.id)))


def kill(execute, run) -> None:
    execute("UPDATE run SET status = 'dead', finished_at = now(), recoveries = 6 WHERE id = :id", id=run.id)


def status_of(run) -> str:
    return engine.get_run(run.id).status


def test_every_status_can_be_filtered_by_and_has_a_chip_in_words(alice):
    checks = engine.metadata.tables["run"].constraints
    allowed = next(str(check.sqltext) for check in checks if str(check.name).endswith("status"))
    assert set(queries.STATUSES) == set(re.findall(r"'(\w+)'", allowed))
    page = alice.get("/runs").text
    for words in ("Paused", "Held back", "Skipped", "Given up", "Done"):
        assert f">{words}</option>" in page


@pytest.mark.parametrize("way", [post, call])
def test_the_owner_pauses_a_run_and_resumes_it(alice, make_run, way):
    run = make_run(alice, done=False)
    path = f"/runs/{run.id}"
    assert way(alice, f"{path}/pause").status_code in (200, 303)
    assert status_of(run) == "paused"
    page = alice.get(path).text
    assert "Somebody has paused this run" in page
    assert ">Resume<" in page
    assert 'data-open="pause-run"' not in page
    assert way(alice, f"{path}/pause").status_code == 409
    assert way(alice, f"{path}/resume").status_code in (200, 303)
    assert way(alice, f"{path}/resume").status_code == 409
    drain()
    assert status_of(run) == "completed"
    assert way(alice, f"{path}/pause").status_code == 409
    assert actions() == []


def test_a_run_that_was_given_up_tries_anew(alice, make_run, execute):
    run = make_run(alice, done=False)
    kill(execute, run)
    page = alice.get(f"/runs/{run.id}").text
    assert "Try anew" in page
    assert "Retry" not in page
    assert post(alice, f"/runs/{run.id}/resume").status_code == 303
    drain()
    assert status_of(run) == "completed"


@pytest.mark.parametrize("way", [post, call])
def test_a_replay_is_a_new_run_of_the_same_event(alice, make_run, way):
    run = make_run(alice)
    answer = way(alice, f"/runs/{run.id}/replay")
    assert answer.status_code in (201, 303)
    drain()
    new = engine.list_runs(owner_id=alice.user.id, workflow="demo", limit=1)[0]
    assert (new.forked_from, new.event_id, new.output) == (run.id, run.event_id, {"size": 11})
    if answer.is_json:
        assert (answer.json["id"], answer.json["forked_from"]) == (str(new.id), str(run.id))


def test_a_run_that_has_not_ended_is_not_replayed(alice, make_run):
    run = make_run(alice, done=False)
    answer = call(alice, f"/runs/{run.id}/replay")
    assert answer.status_code == 409
    assert "has not ended yet" in answer.json["message"]
    assert "Replay" not in alice.get(f"/runs/{run.id}").text


def ask(browser, path, **values):
    return browser.post(f"/api{path}", json=values, headers={"X-CSRFToken": token(browser.get("/runs"))})


def test_the_api_cancels_a_run_once_for_its_owner_alone(alice, root, charlie, make_run):
    run = make_run(alice, done=False)
    for browser in (root, charlie):
        assert call(browser, f"/runs/{run.id}/cancel").status_code == 404
    answer = call(alice, f"/runs/{run.id}/cancel")
    assert (answer.status_code, answer.json["status"], answer.json["is_final"]) == (200, "cancelled", True)
    again = call(alice, f"/runs/{run.id}/cancel")
    assert again.status_code == 409
    assert "already ended" in again.json["message"]


def test_the_api_goes_on_at_a_step_with_other_arguments_for_its_owner_alone(alice, root, charlie, make_run):
    run = make_run(alice, "broken")
    for browser in (root, charlie):
        assert ask(browser, f"/runs/{run.id}/rerun", step="measure").status_code == 404
    answer = ask(alice, f"/runs/{run.id}/rerun", step="measure", input=["mended"])
    assert answer.status_code == 201
    assert answer.json["forked_from"] == str(run.id)
    drain()
    assert alice.get(f"/api/runs/{answer.json['id']}").json["output"] == {"size": 6}


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({}, 422, "the key of the step"),
        ({"step": 7}, 422, "the key of the step"),
        ({"step": "nonsense"}, 404, "no such step"),
        ({"step": "measure", "input": {"a": 1}}, 422, "must be a list"),
    ],
)
def test_a_rerun_that_makes_no_sense_is_refused_with_a_sentence(alice, make_run, body, status, says):
    run = make_run(alice)
    answer = ask(alice, f"/runs/{run.id}/rerun", **body)
    assert answer.status_code == status
    assert says in answer.json["message"]


def test_the_api_refuses_a_rerun_of_what_has_not_ended(alice):
    @workflow("long", on="demo/long")
    def long(ctx, step):
        step.run("first", lambda: 1)
        step.sleep("nap", "1h")

    engine.send("demo/long", {}, owner_id=alice.user.id)
    db.session.commit()
    drain()
    run = engine.list_runs(workflow="long")[0]
    assert ask(alice, f"/runs/{run.id}/rerun", step="first").status_code == 409


def test_the_api_counts_the_tries_of_the_body_as_the_page_does(alice, make_run):
    run = make_run(alice)
    assert alice.get(f"/api/runs/{run.id}").json["attempt"] == 1


@pytest.mark.parametrize("way", [post, call])
@pytest.mark.parametrize("verb", ["pause", "resume", "replay"])
def test_a_stranger_can_do_nothing(alice, charlie, make_run, way, verb):
    run = make_run(alice, done=False)
    assert way(charlie, f"/runs/{run.id}/{verb}").status_code == 404
    assert status_of(run) == "queued"


@pytest.mark.parametrize("way", [post, call])
def test_an_administrators_pausing_and_resuming_is_written_down_and_replays_are_the_owners(alice, root, make_run, way):
    run = make_run(alice, done=False)
    paused = way(root, f"/runs/{run.id}/pause")
    assert status_of(run) == "paused"
    assert not paused.is_json or "input" not in paused.json
    way(root, f"/runs/{run.id}/resume")
    assert actions() == ["run.pause", "run.resume"]
    drain()
    assert way(root, f"/runs/{run.id}/replay").status_code == 404
    assert "Replay" not in root.get(f"/runs/{run.id}").text


def test_the_api_says_whether_a_run_is_final_and_what_it_waits_for(alice, make_run):
    run = make_run(alice, done=False)
    call(alice, f"/runs/{run.id}/pause")
    found = alice.get(f"/api/runs/{run.id}").json
    assert (found["status"], found["is_final"]) == ("paused", False)
    assert found["waits_for"]["reason"] == "paused"
    call(alice, f"/runs/{run.id}/resume")
    drain()
    found = alice.get(f"/api/runs/{run.id}").json
    assert (found["is_final"], found["waits_for"]) == (True, None)


def test_what_follows_another_run_by_itself_is_not_replayed(alice):
    def clean_up(ctx, outcome):
        pass

    @workflow("breaks", on="demo/breaks", retries=0, on_failure=clean_up)
    def breaks(ctx, step):
        step.run("break", lambda: 1 / 0)

    engine.send("demo/breaks", {}, owner_id=alice.user.id)
    db.session.commit()
    drain()
    hook = next(run for run in engine.list_runs(owner_id=alice.user.id) if run.parent_run)
    answer = call(alice, f"/runs/{hook.id}/replay")
    assert answer.status_code == 409
    assert "followed another one" in answer.json["message"]
    assert "Replay" not in alice.get(f"/runs/{hook.id}").text
