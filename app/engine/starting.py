"""What is decided when runs start, in the sender's transaction: at once, later, in place of others, or not at all.

Idempotency is looked at first, then a singleton, the rate limit and the throttle: what one leaves out takes no place
under the next. Everything is locked in one sorted order: idempotency keys, then the keys of all limits (rows of
`flow`), then runs. Whoever decides under a key holds its row until the commit, and reads in statements after the one
that locked.

All runs pass concurrency, singleton, priority and timeouts: these speak of what is there at the same time. Reruns and
invoked runs do not pass the others, for somebody waits for just this run (a singleton may still skip it). Hook runs
have no options at all.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

# Endings and starts need each other when they happen: an ending starts runs, and a new run may end the one before it.
from app.engine import codec, endings, store_events, store_starting
from app.engine.after import After
from app.engine.options import Debounce, RateLimit, Singleton, Throttle
from app.engine.registry import Workflow, registry
from app.engine.runtime import Connection
from app.engine.store_events import Event, NewEvent, context_of
from app.engine.store_starting import NewRun
from app.lib import durations, expressions
from app.lib.ids import new_id


def write(connection: Connection, events: list[NewEvent]) -> After:
    """Write `events` and the runs they start; returns what to tell of it after the commit.

    Events and runs whose id or idempotency key was seen within 24 hours are left out.
    """
    fresh = store_events.insert_events(connection, events)
    found = [(workflow, event) for event in fresh for workflow in registry.listeners(event.name, context_of(event))]
    return insert_runs(connection, [plan(workflow, event) for workflow, event in found])


def run_scope(workflow: str, owner_id: UUID | None) -> str:
    """Return the scope of a workflow's idempotency keys: nobody's key suppresses somebody else's run."""
    return f"run:{workflow}:{owner_id}"


def plan(workflow: Workflow, event: NewEvent | Event, **more: Any) -> NewRun:
    """Return the run of `workflow` that `event` starts; one with a parent, or a fork, passes the limits on starts."""
    if more.get("parent_run") or more.get("forked_from"):
        workflow = replace(workflow, idempotency=None, debounce=None, rate_limit=None, throttle=None)
    context, debounce, timeouts = context_of(event), workflow.debounce, workflow.timeouts
    if isinstance(event, NewEvent):
        more["trace"] = event.trace
    flows = [*workflow.flow_keys(context), None, None]

    def key(kind: str, limit: RateLimit | Throttle | Debounce | Singleton | None, owner: str = "") -> str | None:
        return None if limit is None else workflow.flow_key(kind, limit.key, context, owner)

    return NewRun(
        id=new_id(),
        workflow=workflow.name,
        version=workflow.version,
        hook=workflow.hook,
        owner_id=event.owner_id,
        subject=more.pop("subject", None) or workflow.subject_of(context),
        event_id=event.id,
        event_name=event.name,
        occurred_at=event.occurred_at,
        flow_a=flows[0],
        flow_b=flows[1],
        idempotency_key=workflow.idempotency_key(context),
        singleton_key=key("singleton", workflow.singleton, f"{event.owner_id}:"),
        is_successor=workflow.singleton is not None and workflow.singleton.mode == "cancel",
        debounce_key=key("debounce", debounce, f"{event.owner_id}:"),
        rate_key=key("rate", workflow.rate_limit),
        throttle_key=key("throttle", workflow.throttle),
        seconds_ahead=workflow.seconds_ahead(context),
        start_seconds=durations.optional(timeouts.start),
        finish_seconds=durations.optional(timeouts.finish),
        period=durations.optional(debounce.period if debounce else None),
        timeout=durations.optional(debounce.timeout if debounce else None),
        cancel_on=tuple(_waits(workflow, context)),
        **more,
    )


def start_one(
    connection: Connection, workflow: Workflow, name: str, data: dict[str, Any], *, owner_id: UUID | None, **more: Any
) -> After:
    """Write an event of the engine's own, and the run of this one workflow that it starts; `more` as in `plan`."""
    event = NewEvent(new_id(), name, data, codec.dump_event(data, name), owner_id)
    connection.execute(store_events.INSERT_EVENT, vars(event))
    after = insert_runs(connection, [plan(workflow, event, **more)])
    after.sent.append(event.id)
    return after


def insert_runs(connection: Connection, runs: list[NewRun]) -> After:
    """Decide about `runs` and write them; returns what to tell of them, and of those that they ended, after the commit.

    Left out are those whose idempotency key another run holds. A debounced run that is told of may be an older one.
    """
    keyed = ((run, run.idempotency_key) for run in reversed(runs))  # of two with one key, the first takes it
    wanted = {(run_scope(run.workflow, run.owner_id), key): run.id for run, key in keyed if key}
    taken = store_events.claim_keys(connection, wanted)
    fresh = [run for run in runs if not run.idempotency_key or run.id in taken]
    store_starting.lock_keys(connection, fresh)
    written = [run for run in fresh if not run.deciding_keys]
    store_starting.insert(connection, written)
    after = After(written)
    for run in fresh:
        if run.deciding_keys:
            after.started.append(_decide(connection, run, after))
    return after


def _waits(workflow: Workflow, context: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of `wait` for cancel_on; none where the event says nothing that could be matched."""
    rows = []
    for number, ending in enumerate(workflow.cancel_on):
        path, value = expressions.matching(ending.match, context["event"]["data"])
        if ending.match is None or value is not None:
            row = {"event": ending.event, "path": path, "value": value, "condition": ending.if_}
            rows.append({"key": f"cancel:{number}", **row})
    return rows


def _decide(connection: Connection, run: NewRun, after: After) -> NewRun:
    """Write a run that has limits, whose keys are locked, as what it is to be."""
    if run.debounce_key:
        return _debounce(connection, run)
    workflow = registry.by_name[run.workflow]
    rows = store_starting.going_on(connection, [run.singleton_key], " FOR UPDATE" if run.is_successor else "")
    if rows and not run.is_successor:
        return _skip(connection, run, f"Skipped by the singleton: run {rows[0].id} has not ended yet.")
    if run.rate_key and workflow.rate_limit:
        limit = workflow.rate_limit
        start, is_now = store_starting.arrive(connection, run.rate_key, limit)
        if not is_now:
            free = f"the next run may start at {start.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC."
            return _skip(connection, run, f"Skipped by the rate limit of {limit.limit} per {limit.period}: {free}")
    for earlier in rows:
        reason = f"Cancelled by the singleton: run {run.id} took its place."
        after.add(endings.cancel(connection, earlier, reason).after)
    if run.throttle_key and workflow.throttle:
        start, is_now = store_starting.arrive(connection, run.throttle_key, workflow.throttle)
        run = run if is_now else replace(run, status="waiting", due_at=start, reason="throttled")
    store_starting.insert(connection, [run])
    return run


def _skip(connection: Connection, run: NewRun, reason: str) -> NewRun:
    """Write a run that does not start, for people to see; it frees its idempotency key and tells nobody."""
    skipped = replace(run, status="skipped", reason=reason, start_seconds=None, cancel_on=())
    store_starting.insert(connection, [skipped])
    if run.idempotency_key:
        connection.execute(
            store_events.RELEASE_KEY, [run_scope(run.workflow, run.owner_id), run.idempotency_key, run.id]
        )
    return skipped


def _debounce(connection: Connection, run: NewRun) -> NewRun:
    """Write a debounced run, or put off the one that is there; it gets this event if that is the later one."""
    run = replace(run, status="debounced")
    row = connection.execute(store_starting.DEBOUNCED, [run.debounce_key]).fetchone()
    if row is None:
        store_starting.insert(connection, [run])
        return run
    held = replace(run, id=row[0])
    connection.execute(store_starting.PUT_OFF, vars(held))
    if _own_time(run.event_id, run.occurred_at) > _own_time(row[1], row[2]):
        connection.execute(store_starting.REPLACE, vars(held))
        connection.execute(store_starting.FORGET_WAITS, [held.id])
        store_starting.insert_waits(connection, [held])
    return held


def _own_time(event_id: UUID, occurred_at: datetime | None) -> tuple[float, UUID]:
    """Return when an event happened: as its sender says, or when it got its id (the first 48 bits of a UUIDv7)."""
    return (occurred_at.timestamp() if occurred_at else (event_id.int >> 80) / 1000, event_id)
