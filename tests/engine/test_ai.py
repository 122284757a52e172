"""`step.ai`: a model's answer as a step, with its prompt, tokens, cost and live text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.engine import list_steps, read_stream, workflow
from app.engine.runtime import runtime
from app.engine.testing import run_workflow

MESSAGES = [{"role": "user", "content": "Outline this."}]


class Model:
    """A model that fails as often as it is told to, then answers."""

    def __init__(self, failures=0):
        self.failures, self.calls = failures, []

    def __call__(self, *, messages, model, schema, key, write, **options):
        self.calls.append({"messages": messages, "model": model, "schema": schema, "key": key, "options": options})
        write(f"half {len(self.calls)}")
        if len(self.calls) <= self.failures:
            raise OSError("the model is busy")
        write(", whole")
        return {
            "output": {"title": "Outline"}, "model": "model-7", "input_tokens": 12, "output_tokens": 3, "cost_microusd": 5,
        }  # fmt: skip


@pytest.fixture
def port(app, monkeypatch):
    def use(model):
        monkeypatch.setattr(runtime(), "ports", replace(runtime().ports, ai=model))
        return model

    return use


@pytest.fixture
def outline():
    @workflow("outline", on="test/outline")
    def outline(ctx, step):
        found = step.ai("outline", messages=MESSAGES, model="large", schema={"type": "object"}, temperature=0)
        step.run("fail-once", lambda: 1 / (ctx.attempt - 1))
        return found

    return outline


def test_the_output_is_remembered_and_the_model_asked_once(port, outline):
    model = port(Model())
    run = run_workflow(outline, {})
    assert run.output == {"title": "Outline"}
    assert model.calls == [
        {
            "messages": MESSAGES, "model": "large", "schema": {"type": "object"}, "key": f"{run.id}/outline",
            "options": {"temperature": 0},
        }
    ]  # fmt: skip


def test_its_memo_shows_prompt_model_tokens_and_cost(port, outline):
    port(Model())
    found = list_steps(run_workflow(outline, {}).id)[0]
    assert (found.kind, found.output) == ("ai", {"title": "Outline"})
    assert found.input == [{"messages": MESSAGES, "model": "large", "schema": {"type": "object"}, "temperature": 0}]
    assert found.usage == {"model": "model-7", "input_tokens": 12, "output_tokens": 3, "cost_microusd": 5}


def test_what_the_model_writes_is_a_live_stream_that_a_further_try_begins_anew(port, outline):
    model = port(Model(failures=1))
    run = run_workflow(outline, {})
    found = read_stream(run.id, "outline")
    assert (found.text, found.attempt) == ("half 2, whole", 2)
    assert model.calls[0]["key"] == model.calls[1]["key"]


def test_in_branches_each_answer_has_a_stream_of_its_own(port):
    port(Model())

    @workflow("many", on="test/many")
    def many(ctx, step):
        return step.map("part", lambda s, _n: s.ai("write", messages=MESSAGES), [1, 2], limit=1)

    run = run_workflow(many, {})
    assert run.output == [{"title": "Outline"}] * 2
    assert [read_stream(run.id, f"part[{n}]/write").text for n in (0, 1)] == ["half 1, whole", "half 2, whole"]


def test_without_a_port_the_call_is_a_clear_error(port, outline):
    port(None)
    run = run_workflow(outline, {})
    assert (run.status, run.error["class"]) == ("failed", "EngineError")
    assert "Ports(ai=...)" in run.error["message"]
    assert list_steps(run.id) == []


def test_a_model_that_gives_up_is_a_step_error(port):
    port(Model(failures=9))

    @workflow("gives-up", on="test/gives-up")
    def gives_up(ctx, step):
        step.ai("ask", messages=MESSAGES, retries=1)

    run = run_workflow(gives_up, {})
    [step] = list_steps(run.id)
    assert (run.error["step"], step.status, len(step.attempts), step.usage) == ("ask", "failed", 2, None)
