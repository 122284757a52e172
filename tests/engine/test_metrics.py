"""Figures for Prometheus: from the database, whoever is asked."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app import create_app, engine
from app.db import db
from app.engine import Concurrency, NonRetriable, list_runs, send, workflow
from app.engine.metrics import collector as new_collector
from app.engine.metrics import generate_latest
from app.engine.runtime import runtime
from app.engine.testing import clock, drain
from app.engine.upkeep import identity

TOKEN = "a-token-of-our-own"


def read(collector):
    """Return every figure: {(name without prefix, *values of labels): number}."""
    found = {}
    for family in text_string_to_metric_families(generate_latest(collector).decode()):
        for sample in family.samples:
            labels = [
                sample.labels[label] for label in ("workflow", "status", "reason", "kind") if label in sample.labels
            ]
            found[sample.name.removeprefix("throughline_engine_"), *labels] = sample.value
    return found


@pytest.fixture
def collector(app):
    return new_collector()


@pytest.fixture
def busy(app):
    """Runs in many states: three queued behind a limit of one, one waiting, one completed, one failed."""

    @workflow("limited", on="test/limited", concurrency=[Concurrency(1)])
    def limited(ctx, step):
        return None

    @workflow("waits", on="test/waits", backoff=(600,))
    def waits(ctx, step):
        step.run("fail-once", lambda: 1 / (ctx.attempt - 1))

    @workflow("ends", on="test/ends")
    def ends(ctx, step):
        if ctx.event.data.get("fail"):
            raise NonRetriable("no")

    for name, data in (("waits", {}), ("ends", {}), ("ends", {"fail": True})):
        send(f"test/{name}", data, owner_id=None)
    drain()
    for _ in range(3):
        send("test/limited", {}, owner_id=None)
    db.session.commit()


def test_runs_that_have_not_ended_are_counted_by_workflow_and_status(collector, busy):
    assert {key: value for key, value in read(collector).items() if key[0] == "runs"} == {
        ("runs", "limited", "queued"): 3, ("runs", "waits", "waiting"): 1,
    }  # fmt: skip


def test_runs_that_have_ended_are_counted_once_by_workflow_and_status(collector, busy):
    assert ("ended_runs_total", "ends", "failed") not in read(collector), "the last 15 seconds may still change"
    clock.advance(20)
    for _ in range(2):
        found = read(collector)
        assert (found["ended_runs_total", "ends", "completed"], found["ended_runs_total", "ends", "failed"]) == (1, 1)
    drain()
    clock.advance(20)
    for asked in (collector, new_collector()):  # one that has counted before, one of another process
        assert read(asked)["ended_runs_total", "limited", "completed"] == 3


def test_the_count_of_ended_runs_begins_anew_at_midnight(collector, busy):
    clock.advance(20)
    assert ("ended_runs_total", "ends", "failed") in read(collector)
    clock.advance(24 * 3600)
    assert ("ended_runs_total", "ends", "failed") not in read(collector)


def test_due_runs_the_oldest_of_them_and_what_is_held_are_shown(collector, busy, execute):
    clock.advance(90)
    found = read(collector)
    assert found["due_runs",] == 3
    assert 90 <= found["oldest_queued_run_age_seconds",] < 120
    execute("UPDATE run SET held_by = flow_a || 'x!paused' WHERE id = (SELECT max(id::text)::uuid FROM run)")
    execute(
        "UPDATE run SET held_by = 'limited!paused' WHERE id = (SELECT min(id::text)::uuid FROM run WHERE status = 'queued')"
    )
    found = read(collector)
    assert (found["held_runs", "limit"], found["held_runs", "paused"], found["due_runs",]) == (1, 1, 1)
    clock.advance(700)
    assert read(collector)["due_runs",] == 2, "the one that waits is due by now"


def test_expired_leases_workers_and_upkeep_are_shown(collector, busy):
    from app.engine import advance, store_upkeep

    found = read(collector)
    assert ("seconds_since_upkeep",) not in found
    assert (found["expired_leases",], found["busy_threads",]) == (0, 0)
    advance.claim_batch("mine", 1)
    with runtime().pool.connection() as connection:
        store_upkeep.seen(connection, identity("mine", "worker", 16, 5))
        store_upkeep.seen(connection, identity("other", "upkeep", 1))
        store_upkeep.upkeep_done(connection, "other")
    found = read(collector)
    assert (found["workers", "worker"], found["workers", "upkeep"], found["busy_threads",]) == (1, 1, 5)
    clock.advance(40)
    found = read(collector)
    assert (found["expired_leases",], found["busy_threads",]) == (1, 0)
    assert ("workers", "worker") not in found
    assert 40 <= found["seconds_since_upkeep",] < 60


def test_unmatched_events_and_unscanned_waits_are_shown(collector, busy, execute):
    execute("UPDATE event SET matched_at = created_at")
    assert (read(collector)["unmatched_events",], read(collector)["unscanned_waits",]) == (0, 0)
    execute("UPDATE event SET matched_at = NULL WHERE name = 'test/ends'")
    execute(
        "INSERT INTO wait (run_id, key, topic, kind, since, created_at)"
        " SELECT id, 'answer', 'topic', 'event', engine_now(), engine_now() FROM run WHERE status = 'waiting'"
    )
    assert (read(collector)["unmatched_events",], read(collector)["unscanned_waits",]) == (2, 1)


def test_counting_runs_reads_an_index_alone(app, busy):
    from app.engine.metrics import GAUGES

    with runtime().pool.connection() as connection:
        with connection.transaction():
            connection.execute("SET LOCAL synchronous_commit = on")  # else VACUUM cannot know yet that it is committed
            connection.execute(
                "INSERT INTO run (id, workflow, version, status, event_id, event_name, sort_at, created_at, due_at)"
                " SELECT gen_random_uuid(), 'many-' || n % 7, 1, CASE n % 9 WHEN 0 THEN 'waiting' ELSE 'completed' END,"
                " gen_random_uuid(), 'x', now(), now(), now() FROM generate_series(1, 20000) AS n"
            )
        connection.execute("VACUUM ANALYZE run")
        plan = str(connection.execute(f"EXPLAIN (ANALYZE) {GAUGES[0][3]}").fetchall())
    assert "Index Only Scan using ix_run_open" in plan, plan


# --- the page --------------------------------------------------------------------------------------------------------


@pytest.fixture
def site(app, settings):
    """A web server with a token, on the database of the tests."""
    ports = runtime().ports
    made = create_app(settings.but(metrics_token=TOKEN))
    made.testing = True
    engine.start(ports)
    yield made.test_client()
    with made.app_context():
        db.engine.dispose()


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def test_there_is_no_page_without_the_setting(client):
    assert client.get("/metrics", headers=bearer(TOKEN)).status_code == 404


def test_only_the_bearer_of_the_token_reads_it(site, busy):
    assert site.get("/metrics").status_code == 401
    assert site.get("/metrics", headers=bearer("another")).status_code == 401
    answer = site.get("/metrics", headers=bearer(TOKEN))
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=")
    assert 'throughline_engine_runs{status="queued",workflow="limited"} 3.0' in answer.text
    assert list_runs(), "and it has changed nothing"


def test_a_scrape_while_the_database_is_away_is_a_503_with_a_sentence(site, settings):
    away = settings.database_url.replace("/test_", "/no_such_")
    made = create_app(settings.but(metrics_token=TOKEN, database_url=away))
    answer = made.test_client().get("/metrics", headers=bearer(TOKEN))
    assert (answer.status_code, answer.text) == (
        503, "The database does not answer. Is PostgreSQL up, and DATABASE_URL right?\n",
    )  # fmt: skip
