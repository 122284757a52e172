"""PostgreSQL is killed in the middle of a commit: a server of the test's own, and a worker of the engine alone."""

from __future__ import annotations

import importlib
import signal

import psutil
import pytest
import sqlalchemy as sa

from app.db import db
from app.engine import create_schema, list_runs, send
from app.engine.registry import registry
from app.engine.testing import isolated_registry
from tests.crash.bare import make_app
from tests.crash.processes import wait_until
from tests.crash.storm_places import LEASE, Places

pytestmark = pytest.mark.crash


@pytest.fixture
def places():
    made = Places()
    try:
        made.start()
        app = make_app(made.database_url, made.redis.url(), LEASE)
        with app.app_context(), isolated_registry():
            registry.by_name.clear()
            jobs = importlib.reload(importlib.import_module("tests.crash.storm_jobs"))
            with db.engine.begin() as connection:
                create_schema(connection)
                connection.exec_driver_sql(jobs.CREATE)
            yield made
            db.session.remove()
            db.engine.dispose()
    finally:
        made.close()


@pytest.mark.parametrize("kind", ["transactions", "rows", "sends"])
def test_postgresql_killed_between_a_checkpoint_and_its_commit_costs_one_try(places, kind):
    step = {"transactions": "two", "rows": "two", "sends": "tell"}[kind]
    worker = places.start_worker(strike=f"SIGSTOP {step}.checkpointed")
    send(f"storm/{kind}", {}, owner_id=None)
    db.session.commit()
    wait_until(lambda: psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED)
    places.restart_postgres("immediate")
    worker.process.send_signal(signal.SIGCONT)
    db.engine.dispose()

    def has_ended():
        db.session.rollback()
        return [run.status for run in list_runs(workflow=f"storm-{kind}")] == ["completed"]

    wait_until(has_ended, 30)
    counted = db.session.execute(
        sa.text(
            "SELECT key, count(*) FROM (SELECT key FROM effect UNION ALL "
            "SELECT data ->> 'key' FROM event WHERE name = 'storm/told') AS seen GROUP BY key HAVING count(*) <> 1"
        )
    ).all()
    assert counted == []
    remembered = db.session.scalar(
        sa.text("SELECT count(*) FROM step JOIN run ON run.id = run_id WHERE workflow = :name"),
        {"name": f"storm-{kind}"},
    )
    assert remembered == 5
