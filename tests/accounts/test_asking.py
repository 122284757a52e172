"""Asking a model costs within the budget, and the meter says what the provider says."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from app import engine
from app.accounts import service
from app.accounts.models import UsageEntry, UsageHold
from app.adapters import llm
from app.adapters.llm_fakes import FakeChat, FakeImages
from app.db import db
from app.engine import list_steps, read_stream, workflow
from app.engine.testing import drain, isolated_registry, run_workflow
from app.errors import Transient
from app.lib.ids import new_id
from app.settings import Provider
from tests.factories import make_user

MESSAGES = [{"role": "user", "content": "The moon pulls on the sea. " * 4}]
SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}


@pytest.fixture(autouse=True)
def _registry(app):
    with isolated_registry():
        yield


@pytest.fixture
def fakes(app):
    chat, images = FakeChat(), FakeImages()
    llm.install(app, chat=chat, images=images)
    yield chat, images
    llm.install(app)


@pytest.fixture
def at_sandbox(app, sandbox):
    """Let the app ask the sandbox as if it were a paid server."""
    before = app.settings

    def use(model="sandbox-chat", **changes):
        provider = Provider(f"{sandbox.url}/v1", "any", model)
        app.settings = before.but(chat=provider, images=provider, chat_api="responses", **changes)
        llm.install(app)
        return sandbox

    yield use
    app.settings = before
    llm.install(app)


def entries():
    return db.session.scalars(sa.select(UsageEntry).order_by(UsageEntry.created_at)).all()


def holds():
    return db.session.scalar(sa.select(sa.func.count()).select_from(UsageHold))


def outline(**options):
    @workflow("outline", on="test/outline", retries=2)
    def outline(ctx, step):
        found = step.ai("outline", messages=MESSAGES, schema=SCHEMA, max_output_tokens=300, **options)
        step.run("fail-once", lambda: 1 / (ctx.attempt - 1))
        return found

    return outline


def test_what_is_asked_is_metered_by_the_providers_counts_at_the_settings_prices(fakes):
    alice, run_id = make_user().id, new_id()
    service.ask(alice, MESSAGES, max_output_tokens=300, run_id=run_id, step="outline")
    [entry] = entries()
    assert (entry.kind, entry.model, entry.unit, entry.quantity) == ("chat", "fake-chat", "tokens", 120)
    assert entry.microusd == (100 * 5_000 + 20 * 30_000) // 1000
    assert holds() == 0
    service.draw(alice, "The sea", run_id=run_id, step="draw")
    assert (entries()[1].kind, entries()[1].quantity, entries()[1].microusd) == ("images", 1, 60_000)


def test_a_call_whose_worst_price_is_over_the_budget_is_not_made(app, fakes):
    alice = make_user().id
    worst = service.chat_price(0, 1_000)
    before, app.settings = app.settings, app.settings.but(budget_person_microusd=worst)
    try:
        with pytest.raises(service.OverBudget, match="ask an administrator"):
            service.ask(alice, MESSAGES, max_output_tokens=1_000)
        with pytest.raises(service.OverBudget):
            service.draw(alice, "The sea")
        service.ask(alice, MESSAGES, max_output_tokens=100)
    finally:
        app.settings = before
    assert (len(fakes[0].calls), len(fakes[1].calls)) == (1, 0)


def test_the_sandbox_costs_nothing(app, fakes):
    before, app.settings = app.settings, app.settings.but(chat=Provider("", "", "sandbox-chat", is_sandbox=True))
    try:
        assert service.chat_price(10**6, 10**6) == 0
    finally:
        app.settings = before


def test_each_answer_that_could_not_be_used_is_metered_and_nothing_stays_set_aside(fakes):
    alice, run_id = make_user().id, new_id()
    answers = [llm.Answer("x", None, 10, 5, "fake-chat", id=f"resp-{number}") for number in range(2)]
    fakes[0].script = [llm.Garbled("No.", answers[0]), llm.Refused("No.", answers[1]), {"title": "Sea"}]
    for _ in range(2):
        with pytest.raises((llm.Garbled, llm.Refused)):
            service.ask(alice, MESSAGES, max_output_tokens=300, run_id=run_id, step="outline")
        assert holds() == 0
    service.ask(alice, MESSAGES, max_output_tokens=300, run_id=run_id, step="outline")
    assert [entry.quantity for entry in entries()] == [15, 15, 120]


def test_a_workflow_asks_streams_and_pays_once_although_its_body_is_replayed(at_sandbox):
    sandbox, alice = at_sandbox(), make_user().id
    run = run_workflow(outline(), {}, owner_id=alice)
    assert run.output["title"]
    [asked, _] = list_steps(run.id)
    counted = sandbox.calls()
    assert counted["count"] == 1
    assert {"input": asked.usage["input_tokens"], "output": asked.usage["output_tokens"]} == counted["tokens"]
    [entry] = entries()
    assert (entry.run_id, entry.step, entry.microusd) == (run.id, "outline", asked.usage["cost_microusd"])
    assert entry.quantity == sum(counted["tokens"].values())
    assert asked.usage["model"] == "sandbox-chat"
    assert read_stream(run.id, "outline").text.startswith('{"title"')


def test_a_rerun_from_a_later_step_asks_nobody_again(at_sandbox):
    sandbox, alice = at_sandbox(), make_user().id

    @workflow("twice", on="test/twice")
    def twice(ctx, step):
        step.ai("outline", messages=MESSAGES, max_output_tokens=300)
        return step.run("after", lambda: 1)

    run = run_workflow(twice, {}, owner_id=alice)
    again = engine.rerun_from(run.id, "after")
    db.session.commit()
    drain()
    assert engine.get_run(again).status == "completed"
    assert sandbox.calls()["count"] == len(entries()) == 1


@pytest.mark.parametrize("fault", ["garbled", "500", "429"])
def test_usage_is_the_sum_of_the_providers_counts_whatever_failed_on_the_way(at_sandbox, fault):
    sandbox, alice = at_sandbox(f"fault-{fault}-twice"), make_user().id
    run = run_workflow(outline(), {}, owner_id=alice)
    assert run.status == "completed", run.error
    counted = sandbox.calls()
    assert counted["count"] == 3
    assert sum(entry.quantity for entry in entries()) == sum(counted["tokens"].values()) > 0
    assert holds() == 0


def test_a_refusal_fails_the_step_at_once_and_is_paid(at_sandbox):
    sandbox, alice = at_sandbox("fault-refusal"), make_user().id
    run = run_workflow(outline(), {}, owner_id=alice)
    assert (run.status, run.error["code"]) == ("failed", "model_refused")
    assert sandbox.calls()["count"] == 1
    assert sum(entry.quantity for entry in entries()) == sum(sandbox.calls()["tokens"].values())


def test_over_the_budget_the_run_fails_with_what_to_do_and_nobody_was_asked(at_sandbox):
    sandbox, alice = at_sandbox(budget_person_microusd=10), make_user().id
    run = run_workflow(outline(), {}, owner_id=alice)
    assert (run.error["code"], sandbox.calls()["count"]) == ("over_budget", 0)
    assert "raise it" in run.error["message"]


def test_a_run_of_nobody_cannot_ask(fakes):
    run = run_workflow(outline(), {})
    assert "has an owner" in run.error["message"]
    assert fakes[0].calls == []


def test_another_model_may_be_named(fakes):
    fakes[0].otherwise = {"title": "Sea"}
    run_workflow(outline(model="large"), {}, owner_id=make_user().id)
    assert fakes[0].calls[0]["model"] == "large"
    assert entries()[0].model == "large"


def test_what_breaks_on_the_way_is_tried_again(fakes):
    fakes[0].script = [Transient("No.")]
    fakes[0].otherwise = {"title": "Sea"}
    assert run_workflow(outline(), {}, owner_id=make_user().id).output == {"title": "Sea"}
