"""What the page of a run says of what it waits for, of the runs beside it, and of what it said itself."""

from __future__ import annotations

import pytest

from app import engine
from app.db import db
from app.engine import Concurrency, RateLimit, workflow
from app.engine.testing import drain, runtime


@pytest.fixture
def start(alice):
    """Send an event of Alice's, let everything run that can, and return her newest run of the workflow."""

    def begin(workflow_name: str):
        engine.send(f"demo/{workflow_name}", {"order": 7}, owner_id=alice.user.id)
        db.session.commit()
        drain()
        return engine.list_runs(owner_id=alice.user.id, workflow=workflow_name, limit=1)[0]

    return begin


def page_of(browser, run) -> str:
    return browser.get(f"/runs/{run.id}").text


def test_a_sleeping_run_says_until_when_and_its_step_is_not_done(alice, start):
    @workflow("napping", on="demo/napping")
    def napping(ctx, step):
        step.sleep("nap", "2h")

    run = start("napping")
    page = page_of(alice, run)
    assert f"It sleeps until {run.due_at:%-d %b %Y, %H:%M} UTC (" in page
    assert "in 1 h" in page
    assert "Sleeping" in page
    assert "Done" not in page


def test_a_waiting_run_names_its_event_and_until_when_also_to_administrators(alice, root, start):
    @workflow("asking", on="demo/asking")
    def asking(ctx, step):
        step.wait_for_event("approval", ["demo/yes", "demo/no"], match="data.order", timeout="3d")

    run = start("asking")
    until = f"{run.due_at:%-d %b %Y, %H:%M} UTC"
    for browser in (alice, root):
        page = page_of(browser, run)
        assert f"It waits for the event demo/no or demo/yes, until {until} at the latest." in page
        assert f"For demo/no or demo/yes, until {until} at the latest" in page
        assert "Done" not in page


def test_the_parent_links_its_child_and_the_child_its_parent_while_it_runs_and_afterwards(alice, start):
    @workflow("small", on=())
    def small(ctx, step):
        step.sleep("nap", "10m")

    @workflow("big", on="demo/big")
    def big(ctx, step):
        step.invoke("delegate", small)

    parent = start("big")
    child = engine.list_runs(workflow="small")[0]
    page = page_of(alice, parent)
    assert f'It waits for <a href="/runs/{child.id}">the run</a>' in page
    assert "The run that it has started" in page
    page = page_of(alice, child)
    assert f"/runs/{parent.id}" in page
    assert "The run that started this one" in page
    drain(advance=True)
    assert f'<a href="/runs/{child.id}">The run that it started</a>' in page_of(alice, parent)
    assert alice.get(f"/api/runs/{parent.id}").json["steps"][0]["child_run"] == str(child.id)


def test_a_skipped_run_says_why_to_its_owner(alice, root, start):
    @workflow("rare", on="demo/rare", rate_limit=RateLimit(1, "1h"))
    def rare(ctx, step):
        return None

    start("rare")
    run = start("rare")
    assert run.status == "skipped"
    page = page_of(alice, run)
    assert "It was skipped" in page
    assert run.reason in page
    assert "It was skipped" in page_of(root, run)
    assert f"run-row-{run.id}" in alice.get("/runs?status=skipped").text


def test_logs_notes_tokens_and_cost_are_its_owners_to_see(alice, root, start, monkeypatch):
    def ask(*, messages, write, **_more):
        return {"output": "hi", "model": "model-7", "input_tokens": 1200, "output_tokens": 3, "cost_microusd": 20_000}

    monkeypatch.setattr(runtime(), "ports", runtime().ports.__class__(**{**vars(runtime().ports), "ai": ask}))

    @workflow("chatty", on="demo/chatty")
    def chatty(ctx, step):
        ctx.log.warning("The <b>oven</b> is cold", degrees=12)
        ctx.meta.set("loaves", 7)
        ctx.meta.set("kinds", ["rye"])
        return step.ai("ask", messages=[{"role": "user", "content": "Hello"}])

    run = start("chatty")
    page = page_of(alice, run)
    for part in ("The &lt;b&gt;oven&lt;/b&gt; is cold", "degrees=12", "Warning", "loaves", "rye", "model-7", "1,200"):
        assert part in page, part
    assert "$0.02" in page
    page = page_of(root, run)
    for part in ("oven", "loaves", "model-7", "1,200"):
        assert part not in page, part


def test_a_run_of_nothing_to_say_has_no_empty_sections(alice, make_run):
    page = page_of(alice, make_run(alice))
    for section in ("run-log", "run-meta", "run-waiting", "Models"):
        assert section not in page, section


def test_the_value_that_a_limit_counts_by_is_its_owners_to_see(alice, root, execute):
    @workflow("narrow", on="demo/narrow", concurrency=[Concurrency(1, key="event.data.secret")])
    def narrow(ctx, step):
        return None

    engine.send("demo/narrow", {"secret": "marzipan"}, owner_id=alice.user.id)
    db.session.commit()
    run = engine.list_runs(workflow="narrow")[0]
    execute("UPDATE run SET held_by = flow_a WHERE id = :id", id=run.id)
    execute(WORKER)
    assert "marzipan" in page_of(alice, run)
    page = page_of(root, run)
    assert "marzipan" not in page
    assert "number 1 in that queue" in page


WORKER = """
INSERT INTO worker (name, kind, host, pid, threads, started_at, seen_at) VALUES ('w', 'worker', 'h', 1, 1, now(), now())
"""
