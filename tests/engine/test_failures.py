"""What is kept of a failed try, and who may read which part of it."""

from __future__ import annotations

import json

import pytest
import structlog

from app.engine import advance, list_steps, workflow
from app.engine import memory as memories
from app.engine.testing import assert_sent, run_workflow
from app.errors import Invalid, Permanent

SQL = "SELECT secret FROM users WHERE path = '/srv/x'"


@pytest.fixture
def broken():
    @workflow("broken", on="test/broken", retries=1)
    def broken(ctx, step):
        def ask():
            raise ZeroDivisionError(SQL)

        step.run("ask", ask)

    return broken


def test_progress_says_nothing_of_an_error_that_nobody_wrote_for_people(broken):
    run = run_workflow(broken, {})
    assert [error["step"] for error in run.progress["errors"]] == ["ask", "ask"]
    assert SQL not in json.dumps(run.progress)
    assert run.error["message"] == SQL  # the run's own page may say it


def test_progress_says_an_error_that_was_written_for_people():
    @workflow("refused", on="test/refused")
    def refused(ctx, step):
        def ask():
            raise Permanent("The file is empty. Choose another one.")

        step.run("ask", ask)

    run = run_workflow(refused, {})
    assert run.progress["errors"] == [{"step": "ask", "message": "The file is empty. Choose another one."}]
    assert "traceback" not in list_steps(run.id)[0].attempts[0]["error"]


def test_the_tries_of_a_step_keep_the_traceback_and_the_runs_own_error_does_not(broken):
    run = run_workflow(broken, {})
    [step] = list_steps(run.id)
    for attempt in step.attempts:
        assert "in ask" in attempt["error"]["traceback"]
        assert attempt["error"]["traceback"].rstrip().endswith(SQL)
        assert len(attempt["error"]["traceback"]) <= 8192
    assert "traceback" not in run.error
    assert "traceback" not in assert_sent("run/failed", run_id=str(run.id))["error"]


def test_the_error_of_a_body_that_broke_has_a_traceback_which_nobody_else_hears_of():
    seen = []

    @workflow("careless", on="test/careless", retries=0, on_failure=lambda _ctx, found: seen.append(found.error))
    def careless(ctx, step):
        return ctx.event.data["missing"]

    run = run_workflow(careless, {})
    assert "in careless" in run.error["traceback"]
    assert run.error["traceback"].rstrip().endswith("KeyError: 'missing'")
    assert "traceback" not in assert_sent("run/failed", run_id=str(run.id))["error"]
    assert [list(error) for error in seen] == [["class", "code", "message"]]


def test_the_error_of_a_body_that_was_written_for_people_has_no_traceback():
    @workflow("refused", on="test/refused")
    def refused(ctx, step):
        raise Permanent("The file is empty. Choose another one.")

    assert list(run_workflow(refused, {}).error) == ["class", "code", "message"]


def test_the_log_has_the_traceback_of_an_error_that_nobody_foresaw(broken, monkeypatch):
    log = structlog.testing.CapturingLogger()
    monkeypatch.setattr(memories, "logger", log)
    run_workflow(broken, {})
    failures = [call.kwargs for call in log.calls if call.args == ("step.failed",)]
    assert len(failures) == 2
    assert all(isinstance(told["exc_info"], ZeroDivisionError) for told in failures)


def test_the_log_has_no_traceback_of_a_body_that_refused(monkeypatch):
    @workflow("refusing", on="test/refusing", retries=0)
    def refusing(ctx, step):
        raise Invalid("Send another file.")

    log = structlog.testing.CapturingLogger()
    monkeypatch.setattr(advance, "logger", log)
    run_workflow(refusing, {})
    (told,) = [call.kwargs for call in log.calls if call.args == ("run.body_failed",)]
    assert told["exc_info"] is None


def test_a_last_try_whose_commit_was_not_heard_of_succeeds_all_the_same(monkeypatch):
    @workflow("unheard", on="test/unheard", retries=0)
    def unheard(ctx, step):
        return step.transaction("write", lambda _session: "written")

    original = memories._commit

    def commit(memo):
        original(memo)
        raise ConnectionError("the answer was lost")

    monkeypatch.setattr(memories, "_commit", commit)
    run = run_workflow(unheard, {})
    assert (run.status, run.output) == ("completed", "written")
