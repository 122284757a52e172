"""A database that goes away costs time: no step that is done, and no body that takes it for a failure."""

from __future__ import annotations

import contextlib

import psycopg
import pytest

from app.db import db
from app.engine import list_runs, memory, send, store, workflow
from app.engine.runtime import runtime
from app.engine.testing import drain
from app.lib.direct import DirectConnection


@pytest.fixture
def idle():
    @workflow("idle", on="test/idle")
    def idle(ctx, step):
        return step.run("step", lambda: 1)


def test_a_database_that_is_away_leaves_the_run_to_be_rescued(monkeypatch):
    tries = []

    @workflow("away", on="test/away")
    def away(ctx, step):
        step.run("work", lambda: tries.append(1) or 1 / (len(tries) - 1))

    def broken(*_):
        raise psycopg.OperationalError("gone")

    send("test/away", {}, owner_id=None)
    with monkeypatch.context() as patch:
        patch.setattr(store, "record_attempt", broken)
        assert drain() == [("away", "lost")]
    drain(advance=True)
    assert list_runs()[0].status == "completed"


@pytest.mark.parametrize("is_branch", [False, True])
def test_a_body_cannot_take_a_database_that_is_away_for_the_failure_of_a_step(monkeypatch, is_branch):
    """It would go on without the step, and both ways would be taken: this one now, and the other on the replay."""
    tries, instead = [], []

    @workflow("lenient", on="test/lenient")
    def lenient(ctx, step):
        def work():
            tries.append(1)
            if len(tries) == 1:
                raise RuntimeError
            return "found"

        try:
            if is_branch:
                return step.map("part", lambda s, _n: s.run("optional", work), [1])[0]
            return step.run("optional", work)
        except Exception:  # noqa: BLE001
            instead.append(1)
            return "default"

    def broken(*_):
        raise psycopg.OperationalError("gone")

    send("test/lenient", {}, owner_id=None)
    with monkeypatch.context() as patch:
        patch.setattr(store, "record_attempt", broken)
        assert drain() == [("lenient", "lost")]
    drain(advance=True)
    assert (list_runs()[0].output, instead) == ("found", [])


def test_a_worker_that_froze_in_a_transaction_goes_on_when_it_wakes(idle, monkeypatch):
    """PostgreSQL has ended the transaction meanwhile; that is a lost connection like any other."""

    def ended(*_, **__):
        raise psycopg.errors.IdleInTransactionSessionTimeout

    send("test/idle", {}, owner_id=None)
    with monkeypatch.context() as patch:
        patch.setattr(store, "load", ended)
        assert drain() == [("idle", "lost")]
    drain(advance=True)
    assert list_runs()[0].status == "completed"


def test_a_lost_connection_repeats_the_checkpoint_and_not_the_step():
    """The database closes every connection while a step is busy, as a restart does: its result is not lost."""
    calls = []

    @workflow("blip", on="test/blip")
    def blip(ctx, step):
        def work():
            calls.append(1)
            with psycopg.connect(*runtime().pool._arguments[0], **runtime().pool._arguments[1]) as other:
                other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            return "paid for"

        return step.run("work", work)

    send("test/blip", {}, owner_id=None)
    db.session.commit()
    db.session.remove()
    runtime().ports.engine.dispose()
    assert drain() == [("blip", "completed")]
    assert calls == [1]


def test_a_large_result_whose_commit_nobody_heard_of_is_found_with_its_blob(monkeypatch, execute):
    """The checkpoint is tried again, with the blob that its first try has written."""
    calls, blobs, lost = [], [], []
    save_blob, transaction = store.save_blob, DirectConnection.transaction

    @workflow("large", on="test/large")
    def large(ctx, step):
        return len(step.run("large", lambda: calls.append(1) or "x" * 300_000))

    def saving(connection, blob_id, text):
        blobs.append(blob_id)
        save_blob(connection, blob_id, text)

    @contextlib.contextmanager
    def unheard(connection, *args):
        with transaction(connection, *args) as inner:
            yield inner
        if blobs and not lost:
            lost.append(connection)
            raise psycopg.OperationalError("gone, just after the commit")

    monkeypatch.setattr(memory, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(store, "save_blob", saving)
    monkeypatch.setattr(DirectConnection, "transaction", unheard)
    send("test/large", {}, owner_id=None)
    assert drain() == [("large", "completed")]
    assert (list_runs()[0].output, len(calls), len(blobs), len(set(blobs))) == (300_000, 1, 2, 1)
    assert execute("SELECT count(*) FROM blob").scalar() == 1
