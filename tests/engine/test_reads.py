"""What others may know of events, waits, schedules and workflows."""

from __future__ import annotations

from app.db import db
from app.engine import (
    get_event,
    get_run,
    list_events,
    list_runs,
    list_schedules,
    list_steps,
    list_waits,
    list_workers,
    list_workflows,
    send,
    store_upkeep,
    upkeep,
    workflow,
)
from app.engine.runtime import runtime
from app.engine.upkeep import identity
from app.lib.ids import new_id


def test_events_are_listed_newest_first_of_one_owner_and_name_in_pages():
    alice, charlie = new_id(), new_id()
    ids = [send("test/a", {"n": n}, owner_id=alice) for n in range(3)]
    send("test/b", {}, owner_id=alice)
    send("test/a", {}, owner_id=charlie)
    db.session.commit()
    found = list_events(owner_id=alice, name="test/a")
    assert [event.id for event in found] == ids[::-1]
    assert [event.data["n"] for event in list_events(owner_id=alice, name="test/a", before=ids[2], limit=1)] == [1]
    assert len(list_events(owner_id=alice)) == 4
    assert len(list_events(name="test/a")) == 4
    assert len(list_events()) == 5


def test_an_event_is_found_by_its_id():
    event_id = send("test/a", {"n": 1}, owner_id=None)
    db.session.commit()
    found = get_event(event_id)
    assert (found.name, found.data, found.owner_id) == ("test/a", {"n": 1}, None)
    assert get_event(new_id()) is None


def test_what_cannot_be_an_id_or_a_name_is_not_found():
    send("test/a", {}, owner_id=None)
    db.session.commit()
    for nonsense in ("nonsense", "", "a\0", 5, None):
        assert get_run(nonsense) is None
        assert get_event(nonsense) is None
    assert list_runs(workflow="a\0") == []
    assert list_runs(subject="\ud800") == []
    assert list_events(name="a\0") == []


def test_the_waits_of_a_run_are_listed_with_the_names_of_their_events(execute):
    run_id, owner_id = new_id(), new_id()
    execute(
        """INSERT INTO wait (run_id, key, topic, kind, since, created_at, status, event_id)
        VALUES (:id, 'w', :topic, 'event', now(), now(), 'matched', :id),
               (:id, 'cancel:0', '\\:test/b\\:c', 'cancel', now(), now() + interval '1 second', 'open', NULL)""",
        id=run_id,
        topic=f"{owner_id}:test/a",
    )
    found = [(wait.key, wait.event_name, wait.kind, wait.status, wait.event_id) for wait in list_waits(run_id)]
    assert found == [("w", "test/a", "event", "matched", run_id), ("cancel:0", "test/b:c", "cancel", "open", None)]
    assert list_waits(new_id()) == []


def test_workflows_and_schedules_are_listed():
    @workflow("b", on=["test/a", "test/b"], version=3, on_failure=print)
    def b(ctx, step):
        pass

    @workflow("a", cron="0 3 * * *")
    def a(ctx, step):
        pass

    upkeep.run_pass()
    assert [(view.name, view.on, view.cron, view.version, view.is_hook) for view in list_workflows()] == [
        ("a", (), "0 3 * * *", 1, False),
        ("b", ("test/a", "test/b"), None, 3, False),
        ("b-failed", (), None, 1, True),
    ]
    [view] = list_schedules()
    assert (view.workflow, view.cron, view.last_at, view.paused_at) == ("a", "0 3 * * *", None, None)


def test_a_worker_says_which_workflows_it_can_advance():
    @workflow("a", on="test/a")
    def a(ctx, step):
        pass

    with runtime().pool.connection() as connection:
        for name, kind in (("one", "worker"), ("two", "upkeep")):
            store_upkeep.seen(connection, identity(name, kind, 1))
    assert [(found.name, found.workflows) for found in list_workers()] == [("one", ["a"]), ("two", [])]


def test_a_skipped_run_is_final(execute):
    @workflow("a", on="test/a")
    def a(ctx, step):
        pass

    send("test/a", {}, owner_id=None)
    db.session.commit()
    execute("UPDATE run SET status = 'skipped', reason = 'rate limit'")
    assert list_runs()[0].is_final
    assert list_steps(list_runs()[0].id) == []
