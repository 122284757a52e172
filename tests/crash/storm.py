"""A storm over the engine: `python -m tests.crash.storm`, for some seconds in the tests, for long by `make chaos`.

Workers are killed and frozen, PostgreSQL and Redis are restarted, flushed and hung while runs of every kind come in and
some are cancelled, or paused and resumed. Then it becomes quiet, every run must end, and `storm_checks` counts what happened.

Settings, by environment: SEED, STORM_RUNS (600), STORM_SECONDS (90), STORM_SETTLE (90), STORM_KEEP=1 (keep the folder).
"""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

import sqlalchemy as sa
import structlog

from app.db import db
from app.engine import cancel, create_schema, pause, resume, send
from app.lib.away import DATABASE_FAILED
from tests.crash import storm_checks, storm_jobs
from tests.crash.bare import make_app
from tests.crash.storm_places import LEASE, Places, StormWorker

WORKERS = 3
KILL_EVERY = 3.0
CANCELLED = 0.1  # of all runs, as far as a cancellation comes before their end
PAUSED = 0.15
BURST_EVERY = 2.5
SAY_EVERY = 15.0
PATIENCE = "-c lock_timeout=1s"  # who wakes frozen workers must not wait for them
CANCELLABLE = [f"storm-{kind.name}" for kind in storm_jobs.KINDS if kind.share and kind.ending == "completed"]
PAUSABLE = [f"storm-{kind.name}" for kind in storm_jobs.KINDS if not kind.is_left_alone]
FINAL = ["completed", "failed", "cancelled", "dead", "skipped"]


@dataclass(order=True)
class Act:
    """Something that is going to happen."""

    at: float  # seconds after the storm's beginning
    name: str
    do: Callable[[], object] = field(compare=False)


class Storm:
    """One storm."""

    def __init__(self, places: Places, seed: int, runs: int, seconds: float) -> None:
        self.places = places
        self.chance = random.Random(seed)  # noqa: S311
        self.seconds = seconds
        self.events = self._plan_events(runs)
        self.confirmed = 0  # how many of the events have been sent
        self.cancelled: list[UUID] = []
        self.thawed: list[tuple[int, float]] = []  # pid, time since 1970
        self.strikes: Counter[str] = Counter()
        self.acts = sorted(self._plan_acts())
        self.start = time.monotonic()
        self.said_at = 0.0

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.start

    def blow(self) -> None:
        """Let it all happen."""
        for _ in range(WORKERS):
            self.places.start_worker()
        self.start = time.monotonic()
        waiting = deque(self.acts)
        while self.now < self.seconds or waiting:
            while waiting and waiting[0].at <= self.now:
                act = waiting.popleft()
                self.strikes[act.name] += 1
                added = act.do()
                if isinstance(added, Act):
                    waiting = deque(sorted([*waiting, added]))
            self._send_what_is_due()
            self._say()
            time.sleep(0.1)

    def settle(self, seconds: float) -> bool:
        """Wait until every run has ended; false when some do not."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._send_what_is_due()
            self._say()
            counts = self._counts()
            if self.confirmed == len(self.events) and counts and not set(counts) - set(FINAL):
                return True
            time.sleep(0.2)
        return False

    def _plan_events(self, runs: int) -> list[tuple[float, str, dict]]:
        """Return when which event is sent: in bursts, which fill the limits, in the shares of the kinds."""
        kinds, shares = storm_jobs.KINDS, [kind.share for kind in storm_jobs.KINDS]
        chosen = self.chance.choices(kinds, shares, k=runs)
        bursts = max(int(0.92 * self.seconds / BURST_EVERY), 1)
        times = sorted(self.chance.randrange(bursts) * BURST_EVERY for _ in range(runs))
        return [
            (at, f"storm/{kind.name}", {**kind.data(self.chance), "n": number})
            for number, (at, kind) in enumerate(zip(times, chosen, strict=True))
        ]

    def _plan_acts(self) -> Iterator[Act]:
        """Return what strikes when; a period has three restarts, three flushes, a hung and an absent Redis."""
        for number in range(1, int(self.seconds / KILL_EVERY) + 1):
            yield Act(number * KILL_EVERY, "worker struck", self._strike_a_worker)
        cancellations = int(CANCELLED * len(self.events))
        for number in range(1, cancellations):
            yield Act(number * self.seconds / cancellations, "cancellation", self._cancel_one)
        pauses = int(PAUSED * len(self.events))
        for number in range(1, pauses):
            yield Act(number * self.seconds / pauses, "pause", self._pause_one)
        period = min(self.seconds, 90.0)
        for start in range(0, int(self.seconds - period) + 1, int(period)):
            for part, how in ((0.15, "fast"), (0.45, "immediate"), (0.75, "fast")):
                at = start + period * (part + self.chance.uniform(0, 0.1))
                yield Act(at, f"PostgreSQL restarted ({how})", lambda how=how: self.places.restart_postgres(how))
            for part in (0.08, 0.36, 0.85):
                at = start + period * (part + self.chance.uniform(0, 0.05))
                yield Act(at, "Redis flushed", self.places.flush_redis)
            hung, gone = (start + period * (part + self.chance.uniform(0, 0.05)) for part in (0.25, 0.6))
            yield Act(hung, "Redis hung", self.places.hang_redis)
            yield Act(hung + 5, "Redis woken", self.places.wake_redis)
            yield Act(gone, "Redis shut down", self.places.redis.stop)
            yield Act(gone + 5, "Redis started", self.places.redis.start)

    def _strike_a_worker(self) -> Act | None:
        """Kill a worker or freeze it past its lease; another one takes its place."""
        worker = self.chance.choice(self.places.workers[-WORKERS:])
        self.places.workers.remove(worker)
        is_frozen = self.chance.random() < 0.4
        if not is_frozen:
            self.strikes["SIGKILL"] += 1
            worker.kill()
            self.places.start_worker()
            return None
        self.strikes["SIGSTOP"] += 1
        worker.process.send_signal(signal.SIGSTOP)
        self.places.workers.insert(0, worker)  # not among those that are struck, but among those that are ended
        self.places.start_worker()
        past = 11.0 if self.chance.random() < 0.15 else self.chance.uniform(0.1, 3)
        return Act(self.now + LEASE + past, "worker woken", lambda: self._wake(worker))

    def _wake(self, worker: StormWorker) -> Act:
        self.thawed.append((worker.pid, time.time()))
        worker.process.send_signal(signal.SIGCONT)
        return Act(self.now + self.chance.uniform(1, 6), "woken worker killed", lambda: self._remove(worker))

    def _remove(self, worker: StormWorker) -> None:
        self.places.workers.remove(worker)
        worker.kill()

    def _cancel_one(self) -> None:
        """Cancel some run that has not ended."""
        try:
            run_id = self._pick(CANCELLABLE)
            is_done = run_id is not None and cancel(run_id, "by the storm")
            db.session.commit()
            if is_done:
                self.cancelled.append(run_id)
        except DATABASE_FAILED:
            db.session.rollback()

    def _pause_one(self) -> Act | None:
        """Pause some run that has not ended, and resume it soon, whether or not the pause was heard to be committed."""
        run_id = None
        try:
            run_id = self._pick(PAUSABLE)
            if run_id is None:
                return None
            pause(run_id)
            db.session.commit()
        except DATABASE_FAILED:
            db.session.rollback()
            if run_id is None:
                return None
        return Act(self.now + self.chance.uniform(0.1, 4), "resumption", lambda: self._resume(run_id))

    def _resume(self, run_id: UUID) -> Act | None:
        """Let a run go on; again when the database could not be asked."""
        try:
            resume(run_id)
            db.session.commit()
        except DATABASE_FAILED:
            db.session.rollback()
            return Act(self.now + 0.5, "resumption", lambda: self._resume(run_id))
        return None

    def _pick(self, workflows: list[str]) -> UUID | None:
        pick = sa.text(
            "SELECT id FROM run WHERE workflow = ANY(:workflows) AND status <> ALL(:final) AND requested IS NULL "
            "ORDER BY random() LIMIT 1"
        )
        found: UUID | None = db.session.scalar(pick, {"workflows": workflows, "final": FINAL})
        return found

    def _send_what_is_due(self) -> None:
        """Send the next events; with ids of their own, so that what is not known to have been sent is sent again."""
        due = self.confirmed
        while due < len(self.events) and self.events[due][0] <= self.now:
            due += 1
        if due == self.confirmed:
            return
        try:
            for _, name, data in self.events[self.confirmed : due]:
                send(name, data, owner_id=None, id=f"storm-{data['n']}")
            db.session.commit()
            self.confirmed = due
        except DATABASE_FAILED:
            db.session.rollback()

    def _counts(self) -> dict[str, int]:
        try:
            found = dict(db.session.execute(sa.text("SELECT status, count(*) FROM run GROUP BY status")).all())
            db.session.rollback()
        except DATABASE_FAILED:
            db.session.rollback()
            return {}
        return found

    def _say(self) -> None:
        if self.now - self.said_at >= SAY_EVERY:
            self.said_at = self.now
            counts = ", ".join(f"{number} {status}" for status, number in sorted(self._counts().items()))
            say(f"{self.now:5.0f} s: {self.confirmed} of {len(self.events)} sent; {counts or 'no database just now'}")


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    """Let a storm blow and say what it left; 0 when all is as it should be."""
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(1_000_000))
    runs, seconds, settle = (
        int(os.environ.get(name, default))
        for name, default in (("STORM_RUNS", "600"), ("STORM_SECONDS", "90"), ("STORM_SETTLE", "90"))
    )
    say(f"A storm of {seconds} s over {runs} runs; the same again: SEED={seed}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    places = Places()
    try:
        places.start()
        app = make_app(places.database_url, places.redis.url(), LEASE, options=PATIENCE)
        with app.app_context():
            with db.engine.begin() as connection:
                create_schema(connection)
                connection.exec_driver_sql(storm_jobs.CREATE)
            storm = Storm(places, seed, runs, seconds)
            storm.blow()
            is_settled = storm.settle(settle)
            say(f"{storm.now:5.0f} s: " + ("every run has ended" if is_settled else "SOME RUNS DO NOT END"))
            wrong = places.stop_workers()
            with places.connect() as connection:
                wrong += storm_checks.check(connection, storm, places)
                storm_checks.print_table(connection, storm)
        for sentence in wrong:
            say(f"WRONG: {sentence}")
        say(f"{len(wrong)} things are wrong; SEED={seed}" if wrong else "Nothing is wrong.")
        return 1 if wrong else 0
    finally:
        places.close(keep_folder=bool(os.environ.get("STORM_KEEP")))


if __name__ == "__main__":
    sys.exit(main())
