"""Many runs of a few workflows with limits, several workers and whatever people do: what must hold, holds after each."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from app.db import db
from app.engine import (
    Concurrency,
    Debounce,
    RateLimit,
    Singleton,
    Throttle,
    actions,
    advance,
    send,
    store_upkeep,
    upkeep,
    why_not_started,
    workflow,
)
from app.engine.runtime import runtime
from app.engine.schema import FINAL
from app.lib.ids import new_id
from tests.engine import chaos, play, programs

pytestmark = pytest.mark.timeout(play.TIMEOUT)
LIMITS = (1, 2)  # of a key, and of all keys
STARTS, PERIOD, BURST = 2, 60, 2  # of the throttle and the rate limit
KEY = "event.data.key"
OPTIONS = {
    "keyed": {"concurrency": [Concurrency(LIMITS[0], key=KEY), Concurrency(LIMITS[1])], "priority": "event.data.ahead"},
    "spaced": {"throttle": Throttle(STARTS, PERIOD, burst=BURST)},
    "rated": {"rate_limit": RateLimit(STARTS, PERIOD)},
    "one": {"singleton": Singleton(KEY), "concurrency": [Concurrency(LIMITS[0], key=KEY)]},
    "last": {"singleton": Singleton(KEY, "cancel")},
    "calm": {"debounce": Debounce(30, KEY, timeout=60)},
    "once": {"idempotency": KEY},
}
NAMES = st.sampled_from(["keyed", "keyed", *OPTIONS])
KEYS = st.sampled_from(["x", "y"])
RUNS = st.integers(0, 30)
MOST_LOSSES = 4
RELEASED = ("failed", "cancelled", "dead", "skipped")
COLUMNS = (
    "id, workflow, status, flow_a, flow_b, sort_at, lease_until > engine_now() AS is_held, requested, reason, "
    "singleton_key, debounce_key, event_id, created_at, due_at, debounce_until, created_at > engine_now() - interval '1 day'"
)


@dataclass(frozen=True)
class Row:
    """A run as it stands."""

    id: object
    workflow: str
    status: str
    flow_a: str | None
    flow_b: str | None
    sort_at: datetime
    holds_slots: bool | None
    requested: str | None
    reason: str | None
    singleton_key: str | None
    debounce_key: str | None
    event_id: object
    created_at: datetime
    due_at: datetime | None
    debounce_until: datetime | None
    is_of_today: bool

    @property
    def keys(self):
        return [key for key in (self.flow_a, self.flow_b) if key]

    @property
    def goes_on(self):
        return self.status not in FINAL


@dataclass(frozen=True)
class Sent:
    """What came of an event: new runs, in the presence of `others` of the same workflow and key."""

    new: list[Row]
    others: list[Row]  # as they were before
    after: dict[object, Row]
    own_time: tuple[float, object]


def all_runs() -> list[Row]:
    return [Row(*row) for row in play.execute(f"SELECT {COLUMNS} FROM run ORDER BY sort_at, id")]


def limit_of(key: str) -> int:
    return LIMITS[int(key.partition("#")[2][0])]


def taken(rows: list[Row]) -> Counter[str]:
    """Return how many slots of each key are taken."""
    return Counter(key for row in rows if row.status == "running" and row.holds_slots for key in row.keys)


@pytest.fixture
def house(app, monkeypatch):
    with play.house(monkeypatch):
        yield


class Flows(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        play.empty()
        self.owner, self.numbers, self.losses = new_id(), itertools.count(), 0
        self.open: list[tuple[object, float]] = []
        self.cancelled: set[object] = set()
        self.paused: set[str] = set()
        self.gathered: dict[object, list[tuple[float, object]]] = {}
        self.key_of: dict[object, str] = {}
        self.target: tuple[str, object] | None = None  # what is done to a run while it is advanced
        chaos.meanwhile.append(self.disturb)
        self.starts: list[datetime] = []  # from when on a run of the throttle may start
        for name, options in OPTIONS.items():
            workflow(name, on=f"test/{name}", **options)(self.body)

    def body(self, ctx, step):
        for key in ("a", "b"):
            step.run(key, lambda key=key: programs.write(ctx.run_id, 0, key))
            if key == "a" and ctx.event.data["naps"]:
                step.sleep("nap", 20)

    def one_of(self, number):
        rows = sorted(all_runs(), key=lambda row: row.id)
        return rows[number % len(rows)] if rows else None

    def do(self, work, fault):
        faults = [fault] if fault is not None and self.losses < MOST_LOSSES else []
        self.losses += len(faults)
        return chaos.live(work, faults), bool(faults)

    # What comes in.

    @rule(
        name=NAMES,
        key=KEYS,
        ahead=st.sampled_from([0, 0, 30]),
        naps=st.booleans(),
        at=st.sampled_from([None, None, -60, 60]),
    )
    def send(self, name, key, ahead, naps, at):
        before = {row.id: row for row in all_runs()}
        data = {"key": key, "ahead": ahead, "naps": naps, "n": next(self.numbers)}
        occurred_at = None if at is None else datetime.now(UTC) + timedelta(seconds=at)
        event_id = send(f"test/{name}", data, owner_id=self.owner, at=occurred_at)
        db.session.commit()
        own_time = ((event_id.int >> 80) / 1000 if at is None else occurred_at.timestamp(), event_id)
        after = {row.id: row for row in all_runs()}
        new = [row for run_id, row in after.items() if run_id not in before]
        self.key_of |= {row.id: key for row in new}
        others = [row for row in before.values() if row.workflow == name and self.key_of[row.id] == key]
        getattr(self, f"check_{name}")(Sent(new, others, after, own_time))
        assert len(after) == len(before) + len(new)

    def check_keyed(self, sent):
        assert [row.status for row in sent.new] == ["queued"]

    def check_spaced(self, sent):
        [row] = sent.new
        assert (row.status, row.reason) in (("queued", None), ("waiting", "throttled"))
        self.starts.append(row.due_at or row.created_at)

    def check_rated(self, sent):
        [row] = sent.new
        since = row.created_at - timedelta(seconds=PERIOD)
        lately = [
            other
            for other in sent.after.values()
            if other.workflow == "rated" and other.status != "skipped" and other.created_at > since
        ]
        assert len(lately) <= 2 * STARTS
        assert row.status == "queued" or (row.status == "skipped" and len(lately) >= STARTS)

    def check_one(self, sent):
        [row] = sent.new
        assert row.status == ("skipped" if any(other.goes_on for other in sent.others) else "queued")

    def check_last(self, sent):
        assert [row.status for row in sent.new] == ["queued"]
        for other in sent.others:
            now = sent.after[other.id]
            assert not now.goes_on or now.requested == "cancel"
            self.cancelled = self.cancelled | {other.id} if other.goes_on else self.cancelled

    def check_calm(self, sent):
        gathering = [other for other in sent.others if other.status == "debounced"]
        assert len(sent.new) + len(gathering) == 1
        assert [row.status for row in sent.new] in ([], ["debounced"])
        [row] = sent.new or gathering
        self.gathered.setdefault(row.id, []).append(sent.own_time)
        assert sent.after[row.id].event_id == max(self.gathered[row.id])[1]

    def check_once(self, sent):
        is_known = any(other.is_of_today and other.status not in RELEASED for other in sent.others)
        assert [row.status for row in sent.new] == ([] if is_known else ["queued"])

    # What workers do.

    @rule(limit=st.integers(1, 4), fault=st.none() | st.none() | chaos.faults(("crash", "lost"), most=30))
    def claim(self, limit, fault):
        self.claiming(lambda: advance.claim_batch(f"worker-{len(self.open)}", limit), fault)

    @rule(number=RUNS, times=st.integers(1, 2))
    def give_a_hint(self, number, times):
        row = self.one_of(number)
        for _ in range(times if row else 0):
            self.claiming(lambda: [found] if (found := advance.claim_one("hinted", row.id)) else [], None)

    def claiming(self, work, fault):
        before = all_runs()
        claimed, has_fault = self.do(work, fault)
        self.open += claimed or []
        used = taken(before)
        for run, _ in () if has_fault else claimed:
            row = next(row for row in before if row.id == run.id)
            assert row.workflow not in self.paused
            assert row.status == "queued"
            alike = [other.id for other in before if other.status == "queued" and row.keys and other.keys == row.keys]
            free = [limit_of(key) - used[key] for key in row.keys]
            assert not free or alike.index(row.id) < min(free), "a run was overtaken by one of the same key"

    @rule(
        number=RUNS,
        fault=st.none() | chaos.faults(("others",), most=40) | chaos.faults(("crash", "lost", "others")),
        verb=st.sampled_from(["cancel", "cancel", "pause"]),
    )
    def advance(self, number, fault, verb):
        if not self.open:  # no precondition: what is drawn must not depend on what the clock has let happen
            return
        claimed = self.open.pop(number % len(self.open))
        self.target = (verb, claimed[0].id)
        known = self.cancelled
        is_mine = chaos.owner(claimed[0].id) == (claimed[0].epoch, "running")
        status, _ = self.do(lambda: chaos.advancing(*claimed), fault)
        assert is_mine or status in ("lost", None)
        assert claimed[0].id not in known or status in ("cancelled", "lost", None)

    def disturb(self):
        """Cancel or pause the run that is being advanced, at whatever moment that is."""
        if self.target is not None:
            verb, run_id = self.target
            if getattr(actions, verb)(run_id) and verb == "cancel":
                self.cancelled = self.cancelled | {run_id}
            db.session.commit()
            self.target = None

    @rule(fault=st.none() | st.none() | chaos.faults(("crash", "lost"), most=40))
    def keep_time(self, fault):
        self.do(upkeep.run_pass, fault)

    @rule()
    def renew_the_leases(self):
        with runtime().pool.connection() as connection:
            store_upkeep.heartbeat(connection, {run.id: run.epoch for run, _ in self.open}, chaos.LEASE)

    @rule(seconds=st.sampled_from([1, 10, 25, 25, 70, 90_000]))
    def jump(self, seconds):
        if any(row.status == "running" for row in all_runs()):
            if self.losses >= MOST_LOSSES:
                return
            self.losses += 1
        chaos.clock.advance(seconds)

    # What people do.

    @rule(number=RUNS, verb=st.sampled_from(["cancel", "pause", "resume", "resume"]))
    def act(self, number, verb):
        row = self.one_of(number)
        if row is None:
            return
        has_changed = getattr(actions, verb)(row.id)
        db.session.commit()
        now = next(other for other in all_runs() if other.id == row.id)
        if verb == "cancel":
            assert has_changed == row.goes_on
            self.cancelled = self.cancelled | {row.id} if has_changed else self.cancelled
        elif verb == "pause" and has_changed:
            assert now.status == "paused" or (now.status, now.requested) == ("running", "pause")
        elif verb == "resume":
            assert now.status != "paused"
            assert now.requested != "pause"
        if row.status in FINAL:
            assert now.status == row.status

    @rule(name=NAMES, is_on=st.booleans())
    def pause_workflow(self, name, is_on):
        changed = (actions.pause_workflow if is_on else actions.resume_workflow)(name)
        db.session.commit()
        assert changed == (is_on != (name in self.paused))
        self.paused = self.paused | {name} if is_on else self.paused - {name}

    # What holds all the time.

    @invariant()
    def limits_hold(self):
        rows = all_runs()
        assert all(number <= limit_of(key) for key, number in taken(rows).items())
        alive = Counter(row.singleton_key for row in rows if row.goes_on and row.requested != "cancel")
        assert all(number == 1 for key, number in alive.items() if key)
        debounced = [row for row in rows if row.status == "debounced"]
        assert len({row.debounce_key for row in debounced}) == len(debounced)
        assert all(row.due_at <= row.debounce_until for row in debounced)
        assert all(row.reason for row in rows if row.status == "skipped")
        assert all(row.event_id == max(self.gathered[row.id])[1] for row in rows if row.id in self.gathered)
        for start in self.starts:
            soon = [other for other in self.starts if start <= other < start + timedelta(seconds=PERIOD)]
            assert len(soon) <= STARTS + BURST

    @invariant()
    def whoever_has_not_started_is_told_why(self):
        for row in all_runs():
            if row.status == "queued" and row.workflow in self.paused:
                assert why_not_started(row.id) is not None
        db.session.rollback()

    def teardown(self):
        for name in OPTIONS:
            actions.resume_workflow(name)
        for row in all_runs():
            if row.status == "paused" or row.requested == "pause":
                actions.resume(row.id)
        db.session.commit()
        play.finish([])
        for claimed in self.open:
            assert chaos.live(lambda claimed=claimed: chaos.advancing(*claimed)) == "lost"
        for row in all_runs():
            expected = (
                "cancelled" if row.id in self.cancelled else "skipped" if row.status == "skipped" else "completed"
            )
            assert row.status == expected, f"{row.workflow} is {row.status}"
        effects = Counter(play.execute("SELECT run_id, key FROM effect"))
        assert set(effects.values()) <= {1}
        completed = {row.id for row in all_runs() if row.status == "completed"}
        assert {(run_id, key) for run_id in completed for key in "ab"} <= set(effects)


def test_limits_hold_nobody_is_overtaken_and_nothing_is_lost_whatever_people_and_workers_do(house):
    run_state_machine_as_test(Flows, settings=play.bounded(15, stateful_step_count=30))
