"""The limits that the documentation promises: their numbers, and that each is a typed error that names it."""

from __future__ import annotations

import inspect
import json

import pytest
import structlog

from app.db import db
from app.engine import EngineError, LimitExceeded, codec, memory, process, send, sending, steps, workflow
from app.engine.options import MAX_LIMITS, MAX_RETRIES
from app.engine.registry import RETRIES, registry
from app.engine.runtime import WORKER_CONNECTIONS, Ports
from app.engine.testing import run_workflow, sent_events
from app.engine.upkeep import LONGEST_SLEEP, MAX_RECOVERIES

KIB, MIB = 1024, 1024 * 1024


def test_the_limits_are_those_that_the_documentation_promises():
    assert (codec.MAX_EVENT_BYTES, sending.MAX_EVENTS, sending.MAX_NAME) == (512 * KIB, 5000, 256)
    assert (codec.MAX_INLINE_BYTES, codec.MAX_RESULT_BYTES, memory.MAX_STATE_BYTES) == (256 * KIB, 4 * MIB, 32 * MIB)
    assert (memory.MANY_STEPS, steps.MAX_STEPS) == (1000, 10_000)
    assert (RETRIES, MAX_RETRIES, MAX_LIMITS, MAX_RECOVERIES) == (4, 20, 2, 5)
    assert memory.MAX_DEFERRAL.total_seconds() == 24 * 3600
    defaults = {name: field.default for name, field in inspect.signature(Ports).parameters.items()}
    assert (defaults["run_threads"], defaults["step_threads"], defaults["lease_seconds"]) == (16, 48, 30.0)
    assert WORKER_CONNECTIONS <= 32
    assert (LONGEST_SLEEP, process.POLL_SECONDS <= 1) == (1.0, True)


def of_size(size):
    """Return a payload whose JSON has `size` bytes."""
    return {"text": "x" * (size - len(json.dumps({"text": ""}, separators=(",", ":"))))}


def test_an_event_may_have_512_kib_and_not_one_byte_more():
    send("test/a", of_size(512 * KIB), owner_id=None)
    with pytest.raises(LimitExceeded, match="524288") as found:
        send("test/b", of_size(512 * KIB + 1), owner_id=None)
    assert found.value.limit == "event_bytes"
    db.session.commit()
    assert [event["name"] for event in sent_events()] == ["test/a"]


def test_a_name_may_have_256_characters_and_not_one_more():
    send("test/" + "x" * 251, {}, owner_id=None)
    with pytest.raises(LimitExceeded, match="256") as found:
        send("test/" + "x" * 252, {}, owner_id=None)
    assert found.value.limit == "event_name"


def test_5000_events_may_be_sent_at_once_and_not_one_more():
    for _ in range(5000):
        send("test/a", {}, owner_id=None)
    with pytest.raises(LimitExceeded, match="5000") as found:
        send("test/a", {}, owner_id=None)
    assert found.value.limit == "events_per_send"
    db.session.rollback()


@pytest.mark.parametrize("name", ["run/completed", "schedule/tick", "engine/bulk", "workflow/invoked"])
def test_what_the_engine_sends_itself_cannot_be_sent_from_outside(name):
    with pytest.raises(EngineError, match="reserved"):
        send(name, {}, owner_id=None)


def test_whoever_sends_must_say_whose_event_it_is():
    owner = inspect.signature(send).parameters["owner_id"]
    assert (owner.kind, owner.default) == (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.empty)


@pytest.mark.parametrize(("size", "has_blob"), [(256 * KIB, False), (256 * KIB + 1, True)])
def test_a_result_of_256_kib_stands_in_its_row_and_a_larger_one_in_a_blob(execute, size, has_blob):
    @workflow("big", on="test/big")
    def big(ctx, step):
        return len(step.run("big", lambda: "x" * (size - 2)))  # and two quotation marks

    assert run_workflow(big, {}).output == size - 2
    assert execute("SELECT count(*) FROM blob").scalar() == has_blob


@pytest.mark.parametrize(("size", "status"), [(4 * MIB, "completed"), (4 * MIB + 1, "failed")])
def test_a_result_may_have_4_mb_and_not_one_byte_more(size, status):
    @workflow("huge", on="test/huge")
    def huge(ctx, step):
        step.run("huge", lambda: "x" * (size - 2))

    run = run_workflow(huge, {})
    assert run.status == status
    if status == "failed":
        assert "at most 4194304" in run.error["message"]
        assert run.error["code"] == "limit_exceeded"
        assert "'huge'" in run.error["message"]


@pytest.mark.parametrize(("size", "status"), [(32 * MIB, "completed"), (32 * MIB + 1, "failed")])
def test_a_runs_memos_may_have_32_mb_in_all_and_not_one_byte_more(size, status):
    """As if the steps before had taken all but ten bytes."""

    @workflow("heap", on="test/heap")
    def heap(ctx, step):
        ctx.execution.size_bytes = size - 10
        step.run("last", lambda: "x" * 8)

    run = run_workflow(heap, {})
    assert run.status == status
    if status == "failed":
        assert (run.error["code"], run.error["step"]) == ("limit_exceeded", "last")
        assert "33554432" in run.error["message"]


def remember_many(number):
    """Let a run make one more step than so many, and return how it ended."""

    @workflow("many", on="test/many")
    def many(ctx, step):
        missing = number - len(ctx.execution.loaded.memos)
        ctx.execution.loaded.memos.update((f"before-{n}", None) for n in range(missing))
        step.run("one-more", int)

    return run_workflow(many, {})


def test_10000_steps_are_made_and_not_one_more():
    assert remember_many(9_999).status == "completed"
    registry.by_name.clear()
    run = remember_many(10_000)
    assert (run.status, run.error["code"]) == ("failed", "limit_exceeded")
    assert "10000 steps" in run.error["message"]


def test_the_1000th_step_of_a_run_is_warned_about(monkeypatch):
    log = structlog.testing.CapturingLogger()
    monkeypatch.setattr(memory, "logger", log)
    remember_many(998)
    assert log.calls == []
    registry.by_name.clear()
    remember_many(999)
    assert [(call.args, call.kwargs["steps"]) for call in log.calls] == [(("run.many_steps",), 1000)]
