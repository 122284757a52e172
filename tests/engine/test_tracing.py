"""Traces: one from the request that sends an event to the last run that follows from it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from flask import Flask
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app import tracing as product
from app.db import db
from app.engine import list_runs, send, workflow
from app.engine.runtime import runtime
from app.engine.schema import event, run
from app.engine.testing import drain, run_workflow
from app.lib import tracing
from app.lib.environment import SettingsError

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def spans(app, monkeypatch):
    """What was exported so far: a function that returns the spans by name."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    monkeypatch.setattr(trace, "get_tracer", lambda name, *_args, **_kw: provider.get_tracer(name))
    tracing.enable()
    yield exporter.get_finished_spans
    tracing.enable(is_on=False)
    provider.shutdown()


@pytest.fixture
def chain(app):
    @workflow("first", on="chain/begin")
    def first(ctx, step):
        step.run("work", lambda: 1)
        step.send_event("tell", "chain/go-on", {})

    @workflow("second", on="chain/go-on")
    def second(ctx, step):
        step.run("more", lambda: 1)


@pytest.fixture
def web(app, spans):
    """A web server that sends an event for each request."""
    site = Flask("site")
    site.settings = app.settings.but(is_traced=True)

    @site.post("/begin/<secret>")
    def begin(secret):
        with app.app_context():
            send("chain/begin", {}, owner_id=None)
            db.session.commit()
        return "sent"

    product.init_app(site)
    return site.test_client()


def test_one_trace_leads_from_the_request_to_the_run_its_steps_and_the_run_that_a_steps_event_started(
    web, chain, spans
):
    assert web.post("/begin/secret", headers={"traceparent": CALLER}).status_code == 200
    drain()
    by_name = {span.name: span for span in spans()}
    assert set(by_name) == {"POST /begin/<secret>", "run first", "step work", "step tell", "run second", "step more"}
    parents = {name: span.parent.span_id for name, span in by_name.items()}
    ids = {name: span.context.span_id for name, span in by_name.items()}
    assert {f"{span.context.trace_id:032x}" for span in by_name.values()} == {TRACE}
    assert f"{parents['POST /begin/<secret>']:016x}" == "b7ad6b7169203331"
    assert parents["run first"] == ids["POST /begin/<secret>"]
    assert parents["step work"] == parents["step tell"] == ids["run first"]
    assert parents["run second"] == ids["step tell"]
    assert parents["step more"] == ids["run second"]


def test_the_traceparent_of_the_sender_is_stored_in_the_event_and_its_run_takes_it_over(web, chain):
    web.post("/begin/secret", headers={"traceparent": CALLER})
    sent = db.session.scalar(sa.select(event.c.trace))
    assert sent.startswith(f"00-{TRACE}-")
    assert db.session.scalar(sa.select(run.c.trace)) == sent


def test_a_pass_says_its_workflow_run_and_status_and_a_step_its_key_kind_attempt_and_error(spans):
    @workflow("says", on="test/says")
    def says(ctx, step):
        step.map("each", lambda s, _n: s.run("work", lambda: 1 / (ctx.attempt - 1)), [1])

    found = run_workflow(says, {})
    first_try, first_pass, second_try, second_pass = spans()
    assert dict(first_pass.attributes) == {
        "throughline.workflow": "says", "throughline.run_id": str(found.id), "throughline.status": "waiting",
    }  # fmt: skip
    assert second_pass.attributes["throughline.status"] == "completed"
    assert dict(first_try.attributes) == {
        "throughline.step": "each[0]/work", "throughline.kind": "run", "throughline.attempt": 1, "error.type": "ZeroDivisionError",
    }  # fmt: skip
    assert (first_try.status.is_ok, first_try.events, first_try.status.description) == (False, (), None)
    assert (second_try.attributes["throughline.attempt"], "error.type" in second_try.attributes) == (2, False)
    assert first_try.parent.span_id == first_pass.context.span_id


def test_a_replayed_memo_gives_no_span(spans):
    @workflow("replays", on="test/replays")
    def replays(ctx, step):
        step.run("once", lambda: 1)
        step.run("fail-once", lambda: 1 / (ctx.attempt - 1))

    run_workflow(replays, {})
    assert [span.name for span in spans()] == [
        "step once", "step fail-once", "run replays", "step fail-once", "run replays",
    ]  # fmt: skip


def test_tracing_is_off_by_default_and_then_makes_nothing(chain):
    assert tracing.traceparent() is None
    assert tracing.span("a") is tracing.span("b")
    send("chain/begin", {}, owner_id=None)
    drain()
    assert [item.status for item in list_runs()] == ["completed", "completed"]
    assert set(db.session.scalars(sa.select(run.c.trace))) == {None}


def test_a_run_without_a_trace_begins_one(spans):
    @workflow("alone", on="test/alone")
    def alone(ctx, step):
        step.run("work", lambda: 1)

    with runtime().pool.connection():
        run_workflow(alone, {})
    step, found = spans()
    assert (found.parent, step.parent.span_id) == (None, found.context.span_id)


def test_an_exporter_that_is_not_installed_is_refused_with_what_to_do(app, monkeypatch):
    monkeypatch.setattr(trace, "get_tracer_provider", trace.ProxyTracerProvider)
    site = Flask("site")
    site.settings = app.settings.but(is_traced=True, traces_exporter="nowhere")
    with pytest.raises(SettingsError, match="pip install"):
        product.init_app(site)
    tracing.enable(is_on=False)


def test_the_exporter_that_the_settings_name_gets_the_spans(app, monkeypatch):
    provided = []
    monkeypatch.setattr(trace, "get_tracer_provider", trace.ProxyTracerProvider)
    monkeypatch.setattr(trace, "set_tracer_provider", provided.append)
    site = Flask("site")
    site.settings = app.settings.but(is_traced=True, traces_exporter="console")
    product.init_app(site)
    tracing.enable(is_on=False)
    [provider] = provided
    provider.shutdown()
