"""Steps at their edges: a function that commits by itself, branches that pass a number at once."""

from __future__ import annotations

import contextlib
import threading

import pytest
import structlog

from app.accounts.models import User
from app.db import db
from app.engine import EngineError, workflow
from app.engine import memory as memories
from app.engine.meta import Meta
from app.engine.testing import run_workflow
from app.lib.ids import new_id


@pytest.mark.parametrize("is_caught", [False, True])
def test_a_transaction_step_that_commits_by_itself_is_refused(is_caught):
    @workflow("hasty", on="test/hasty", retries=1)
    def hasty(ctx, step):
        def write(session):
            session.add(User(id=new_id(), email="hasty@example.org"))
            with session.begin_nested():
                session.add(User(id=new_id(), email="nested@example.org"))
            with contextlib.suppress(EngineError if is_caught else ()):
                session.commit()

        step.transaction("write", write)

    run = run_workflow(hasty, {})
    assert (run.status, db.session.query(User).count()) == (("completed", 2) if is_caught else ("failed", 0))
    if not is_caught:
        assert "Step 'write' must not commit" in run.error["message"]


def test_a_run_with_many_steps_is_warned_about_also_where_branches_pass_the_number_at_once(monkeypatch):
    monkeypatch.setattr(memories, "MANY_STEPS", 2)
    all_are_there, apply = threading.Barrier(3, timeout=5), Meta.apply

    def wait_and_apply(*args):
        apply(*args)
        all_are_there.wait()

    monkeypatch.setattr(Meta, "apply", wait_and_apply)

    @workflow("many", on="test/many")
    def many(ctx, step):
        step.map("part", lambda s, _n: s.run("one", int), range(3))

    log = structlog.testing.CapturingLogger()
    monkeypatch.setattr(memories, "logger", log)
    assert run_workflow(many, {}).status == "completed"
    assert [call.args for call in log.calls] == [("run.many_steps",)]
