"""Runs of real workflows, made by the engine itself."""

from __future__ import annotations

import pytest

from app import engine
from app.db import db
from app.engine import NonRetriable, workflow
from app.engine.testing import drain, isolated_registry


def load(name: str) -> str:
    return f"<b>{name}</b>"


def measure(text: str) -> int:
    if "broken" in text:
        raise NonRetriable("the measure <broke>")
    return len(text)


@pytest.fixture(autouse=True)
def demo(app):
    """A workflow of two steps; an event with a name that says "broken" makes it fail at the second."""
    with isolated_registry():

        @workflow("demo", on="demo/asked", retries=0, subject="thing:{event.data.name}")
        def run_demo(ctx, step):
            text = step.run("load", load, ctx.event.data["name"])
            ctx.progress(current_step="measure", done=1, total=2, message="Measuring secret-progress")
            return {"size": step.run("measure", measure, text)}

        yield


@pytest.fixture
def make_run(demo):
    """Make a run of a person; unless told otherwise it has ended."""

    def make(browser, name: str = "talk", *, done: bool = True) -> engine.RunView:
        engine.send("demo/asked", {"name": name}, owner_id=browser.user.id)
        db.session.commit()
        if done:
            drain()
        return engine.list_runs(owner_id=browser.user.id, workflow="demo", limit=1)[0]

    return make
