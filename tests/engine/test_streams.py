"""Streams: text for people while a step makes it."""

from __future__ import annotations

import psycopg
import pytest
import sqlalchemy as sa

from app.db import db
from app.engine import EngineError, list_runs, list_steps, read_stream, send, streams, workflow
from app.engine.beat import Beat
from app.engine.runtime import runtime
from app.engine.schema import stream
from app.engine.testing import SimulatedCrash, drain, run_workflow
from tests.engine.test_context import cost


@pytest.fixture
def beat():
    return Beat("test", 1)


def rows(run_id):
    db.session.rollback()
    query = sa.select(stream.c.seq, stream.c.attempt, stream.c.text).where(stream.c.run_id == run_id)
    return [tuple(row) for row in db.session.execute(query.order_by(stream.c.seq))]


def test_the_beat_writes_a_stream_while_the_step_goes_on_several_writes_to_one_row(beat, monkeypatch):
    told = []
    monkeypatch.setattr(runtime(), "announce", told.extend)

    @workflow("writes", on="test/writes")
    def writes(ctx, step):
        def work():
            beat.watch(ctx.execution)
            text = ctx.stream("essay")
            text.write("Once ")
            text.write("upon ")
            beat.show()
            first = read_stream(ctx.run_id, "essay")
            told.clear()
            beat.show()
            assert not told
            text.write("a time")
            beat.show()
            assert told == [f"stream:{ctx.run_id}"]
            rest = read_stream(ctx.run_id, "essay", after_seq=first.seq)
            return [[first.text, first.attempt], [rest.text, rest.attempt]]

        return step.run("work", work)

    run = run_workflow(writes, {})
    assert run.output == [["Once upon ", 1], ["a time", 1]]
    assert rows(run.id) == [(1, 1, "Once upon "), (2, 1, "a time")]


def test_a_stream_is_complete_when_its_step_is_done(monkeypatch):
    @workflow("ends", on="test/ends")
    def ends(ctx, step):
        step.run("work", lambda: ctx.stream("essay").write("the end"))
        return read_stream(ctx.run_id, "essay").text

    assert run_workflow(ends, {}).output == "the end"


def test_a_further_attempt_begins_the_stream_anew_and_readers_get_only_its_text():
    seen = []

    @workflow("anew", on="test/anew", backoff=(60,))
    def anew(ctx, step):
        def work():
            seen.append(read_stream(ctx.run_id, "essay"))
            db.session.rollback()
            ctx.stream("essay").write(f"try {ctx.attempt}")
            return 1 / (ctx.attempt - 1)

        step.run("work", work)

    run = run_workflow(anew, {})
    seen.append(read_stream(run.id, "essay", after_seq=seen[1].seq))
    assert [(each.text, each.attempt, each.seq) for each in seen] == [("", 0, 0), ("try 1", 1, 1), ("try 2", 2, 2)]
    assert rows(run.id) == [(2, 2, "try 2")]
    assert read_stream(run.id, "essay", after_seq=2) == streams.StreamText("", 2, 2)


def test_a_stream_begins_anew_also_when_the_worker_died_in_the_step(beat):
    crashes = iter([True, False])

    @workflow("crashes", on="test/crashes")
    def crash(ctx, step):
        def work():
            beat.watch(ctx.execution)
            ctx.stream("essay").write("half ")
            beat.show()
            if next(crashes):
                raise SimulatedCrash("here")
            ctx.stream("essay").write("whole")

        step.run("work", work)

    send("test/crashes", {}, owner_id=None)
    with pytest.raises(SimulatedCrash):
        drain()
    drain(advance=True)
    found = read_stream(list_runs()[0].id, "essay")
    assert (found.text, found.attempt) == ("half whole", 2)


def test_branches_write_to_streams_of_their_own():
    @workflow("many", on="test/many")
    def many(ctx, step):
        step.map("each", lambda s, n: s.run("write", lambda: ctx.stream(f"part-{n}").write(f"text {n}")), [1, 2, 3])

    run = run_workflow(many, {})
    assert [read_stream(run.id, f"part-{n}").text for n in (1, 2, 3)] == ["text 1", "text 2", "text 3"]


def test_over_1_mib_in_a_stream_is_a_typed_error_that_names_the_limit():
    @workflow("floods", on="test/floods")
    def floods(ctx, step):
        def work():
            for _ in range(5):
                ctx.stream("essay").write("ä" * (streams.MAX_BYTES // 8))

        step.run("work", work)

    run = run_workflow(floods, {})
    assert (run.error["class"], run.error["code"]) == ("LimitExceeded", "limit_exceeded")
    assert "1048576 bytes" in run.error["message"]
    assert len(read_stream(run.id, "essay").text.encode()) == streams.MAX_BYTES


def test_text_that_the_database_cannot_hold_is_shown_with_marks():
    @workflow("odd", on="test/odd")
    def odd(ctx, step):
        step.run("work", lambda: ctx.stream("essay").write("a\x00b\ud800c"))

    assert read_stream(run_workflow(odd, {}).id, "essay").text == "a\N{REPLACEMENT CHARACTER}b?c"


def test_a_stream_outside_of_steps_is_refused():
    @workflow("outside", on="test/outside", retries=0)
    def outside(ctx, step):
        with pytest.raises(EngineError, match="inside a step"):
            ctx.stream("essay")

    assert run_workflow(outside, {}).status == "completed"


def test_a_database_that_stumbles_costs_the_step_nothing_and_the_text_is_written_later(monkeypatch):
    connection = runtime().pool.connection

    def away():
        raise psycopg.OperationalError("away")

    @workflow("stumbles", on="test/stumbles")
    def stumbles(ctx, step):
        def work():
            ctx.stream("essay").write("kept ")
            with monkeypatch.context() as patch:
                patch.setattr(runtime().pool, "connection", away)
                ctx.execution.tell()
            ctx.stream("essay").write("all")

        step.run("work", work)

    run = run_workflow(stumbles, {})
    assert runtime().pool.connection == connection
    assert rows(run.id) == [(1, 1, "kept all")]
    assert list_steps(run.id)[0].attempts == []


def test_a_worker_that_lost_its_lease_writes_to_no_stream(execute):
    @workflow("lost", on="test/lost")
    def lost(ctx, step):
        def work():
            ctx.stream("essay").write("stale")
            execute("UPDATE run SET epoch = epoch + 1")

        step.run("work", work)

    send("test/lost", {}, owner_id=None)
    drain()
    assert rows(list_runs()[0].id) == []


def test_an_abandoned_try_that_goes_on_writing_does_not_disturb_the_next_one():
    first = []

    @workflow("abandoned", on="test/abandoned")
    def abandoned(ctx, step):
        def work():
            ctx.stream("essay").write(f"try {ctx.attempt}")
            if not first:
                first.append(ctx.stream("essay"))
                raise ValueError
            ctx.execution.tell()
            stale = first[0]
            stale._spool = ctx.execution.streams
            stale.write(" stale")

        step.run("work", work)

    assert read_stream(run_workflow(abandoned, {}).id, "essay").text == "try 2"


def test_1000_writes_in_a_step_cost_under_5_percent():
    @workflow("cheap", on="test/cheap")
    def cheap(ctx, step):
        def work():
            text = ctx.stream("essay")
            return cost(lambda number: text.write(f"token {number} "))

        return step.run("work", work)

    assert run_workflow(cheap, {}).output < 0.05
