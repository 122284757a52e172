"""What can go wrong between two calls of the database: the process dies, an answer is lost, the process freezes.

All that a worker or a pass of upkeep does happens inside a `life`. Each call that it makes of the database is a seam,
before and after: so every commit is one, whichever function makes it. A life has faults, each at the n-th seam.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

import psycopg
from hypothesis import strategies as st
from psycopg.pq import TransactionStatus

from app.engine import advance, current, upkeep
from app.engine.runtime import runtime
from app.engine.store import Claimed
from app.engine.testing import SimulatedCrash
from app.lib.away import DATABASE_FAILED
from app.lib.direct import DirectConnection
from app.lib.queue_pool import QueuePool

KINDS = ("crash", "lost", "freeze", "freeze", "others")
LEASE = 30.0
SEQUENCE_CLOCK = """
CREATE OR REPLACE FUNCTION engine_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
  SELECT clock_timestamp() + (SELECT last_value FROM quick_clock) * interval '1 millisecond'
$$
"""


@dataclass(frozen=True)
class Fault:
    """What happens at a seam: the process dies, loses an answer, freezes, or `others` do what there is to do meanwhile.

    A frozen process wakes up when another has rescued its run, and has claimed it for so long.
    """

    seam: int
    kind: str  # crash, lost (an answer, with its connection), freeze or others
    successor: int | None = None  # after how many seams the one who took over is killed; None: it never claims the run
    is_at_work: bool = True  # its seams are counted from the claim on; else from a pass of upkeep before it


@dataclass
class Life:
    """A process, as far as it got."""

    faults: list[Fault]
    seams: int = 0
    is_dead: bool = False
    stops: Fault | None = None  # for a while, as soon as it is in no transaction
    run: Claimed | None = None  # the claim that it is advancing
    known: tuple[object, ...] = ()  # about that run, as it was when it was another's and this process woke up
    begun: set[tuple[int, str]] = field(default_factory=set)  # (thread, step) since then, with that in which it froze
    lock: threading.RLock = field(default_factory=threading.RLock)

    def at(self, connection: psycopg.Connection | None) -> None:
        """Pass a seam, or not; without a `connection` nothing is locked."""
        with self.lock:
            self.seams += 1
            kinds = {fault.kind: fault for fault in self.faults if fault.seam == self.seams}
            self.stops = kinds.get("freeze", kinds.get("others", self.stops))
            stops = self.stops if connection is None or _is_idle(connection) else None
            self.stops = None if stops else self.stops
        if self.is_dead or "crash" in kinds:
            self.is_dead = True
            raise SimulatedCrash
        if "lost" in kinds and connection is not None:
            connection.close()
            raise psycopg.OperationalError("the answer was lost")
        if stops is not None:
            _stop(self, stops)

    def note_step(self) -> None:
        """Note the step that this thread is in, if its run was taken over before."""
        if self.known and current.attempt() is not None:
            self.begun.add((threading.get_ident(), current.key()))


_life: ContextVar[Life | None] = ContextVar("life", default=None)
meanwhile: list[Callable[[], object]] = []  # what others do at a fault of this kind, besides working
_inside: ContextVar[bool] = ContextVar("inside a call", default=False)


def faults(kinds=KINDS, most=70):
    """Return a strategy for the faults of one life."""
    at = st.integers(1, 25) | st.integers(1, most)
    return st.builds(
        Fault, at, st.sampled_from(kinds), st.none() | st.integers(1, 30), st.sampled_from([True, True, False])
    )


def point() -> None:
    """Be a seam inside a step, with nothing locked."""
    life = _life.get()
    if life is not None:
        life.note_step()
        life.at(None)


def live(work, faults=()):
    """Do `work()` as a process that may die; returns its result, or None when it died or the database was away."""
    token = _life.set(Life(list(faults)))
    try:
        return work()
    except SimulatedCrash:
        return None
    except DATABASE_FAILED:
        if not any(fault.kind == "lost" for fault in faults):
            raise  # it is not
        return None
    finally:
        _life.reset(token)


def advancing(run, claimed_at):
    """Advance a claimed run in this life: one that was taken over while its worker was frozen must be left alone."""
    life, status = _life.get(), None
    life.run, life.known, life.begun = run, (), set()
    try:
        status = advance.advance(run, claimed_at)
    finally:
        if life.known:
            found = [(now, then) for now, then in zip(look(run.id), life.known, strict=True) if now != then]
            assert found == [], f"a worker whose run was taken over has changed something: {found}"
            assert status in ("lost", None), f"a worker whose run was taken over says {status}"
            steps = Counter(thread for thread, _ in life.begun)
            assert max(steps.values(), default=0) <= 1, "a worker that was refused has begun another step"
        life.run = None
    return status


def drain(faults=(), limit=4) -> list[str]:
    """Do a pass of upkeep and advance what is due, in one life; returns what became of the runs."""
    found: list[str] = []
    is_at_work = all(fault.is_at_work for fault in faults)
    if is_at_work:
        upkeep.run_pass()

    def work():
        if not is_at_work:
            upkeep.run_pass()
        while claimed := advance.claim_batch("drain", limit):
            found.extend(advancing(*item) for item in claimed)

    live(work, faults)
    return found


def look(run_id):
    """Return everything about a run that only its owner may change."""
    with _unseen(), runtime().pool.connection() as connection:

        def rows(query):
            return connection.execute(query, [run_id]).fetchall()

        return (
            rows("SELECT epoch, attempt, output::text, error::text, finished_at FROM run WHERE id = %s"),
            rows("SELECT key, status, output::text FROM step WHERE run_id = %s ORDER BY key"),
            rows("SELECT key, number FROM step_attempt WHERE run_id = %s ORDER BY key, number"),
            rows("SELECT id FROM run WHERE parent_run = %s ORDER BY id"),
            rows("SELECT key, site FROM effect WHERE run_id = %s ORDER BY key"),
            connection.execute("SELECT count(*) FROM event").fetchall(),
        )


def owner(run_id):
    """Return epoch and status of a run."""
    with _unseen(), runtime().pool.connection() as connection:
        return connection.execute("SELECT epoch, status FROM run WHERE id = %s", [run_id]).fetchone()


class QuickClock:
    """The engine's clock in these tests: moving it costs a statement, and no connection is opened anew."""

    def __init__(self) -> None:
        self.milliseconds = 1

    def advance(self, seconds: float) -> None:
        self.milliseconds += round(seconds * 1000)
        self._set()

    def reset(self) -> None:
        self.milliseconds = 1
        self._set()

    def _set(self) -> None:
        with _unseen(), runtime().pool.connection() as connection:
            connection.execute("SELECT setval('quick_clock', %s)", [self.milliseconds])


clock = QuickClock()


@contextlib.contextmanager
def seams():
    """Make every call of the database in a life a seam, inside this block."""
    originals = [
        (psycopg.Cursor, "execute", _called),
        (psycopg.Cursor, "executemany", _called),
        (DirectConnection, "first", _called),
        (psycopg.Connection, "commit", _called),
        (psycopg.Transaction, "__exit__", _left),
        (QueuePool, "_open", _opened),
    ]
    before = [(kind, name, getattr(kind, name)) for kind, name, _ in originals]
    for (kind, name, wrapper), (_, _, original) in zip(originals, before, strict=True):
        setattr(kind, name, wrapper(original))
    try:
        yield
    finally:
        for kind, name, original in before:
            setattr(kind, name, original)


def _called(original):
    def call(self, *args, **kwargs):
        life = None if _inside.get() else _life.get()
        if life is None:
            return original(self, *args, **kwargs)
        connection = getattr(self, "connection", self)
        life.at(connection)
        with _unseen():
            result = original(self, *args, **kwargs)
        life.at(connection)
        return result

    return call


def _opened(original):
    def open_(self):
        with _unseen():  # else a crash would leave it open for ever
            return original(self)

    return open_


def _left(original):
    def leave(self, exc_type, exc_val, exc_tb):
        life = None if _inside.get() or exc_type is not None else _life.get()
        if life is None:
            return original(self, exc_type, exc_val, exc_tb)
        try:
            life.at(self.connection)
        except BaseException as error:
            with contextlib.suppress(psycopg.Error):
                original(self, type(error), error, None)
            raise
        with _unseen():
            result = original(self, None, None, None)
        life.at(self.connection)
        return result

    return leave


@contextlib.contextmanager
def _unseen():
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)


def _is_idle(connection) -> bool:
    return connection.info.transaction_status == TransactionStatus.IDLE


def _stop(life: Life, fault: Fault) -> None:
    """Let another process work meanwhile, and take over what this one has claimed, on a thread that knows nothing of it."""
    was_mine = life.run is not None and owner(life.run.id) == (life.run.epoch, "running")
    errors: list[BaseException] = []

    def others() -> None:
        try:
            with runtime().ports.app_context():
                if fault.kind == "others":
                    for work in meanwhile:
                        work()
                    drain()
                    return
                clock.advance(LEASE + 1)
                if fault.successor is None:
                    live(upkeep.run_pass)
                else:
                    drain([Fault(fault.successor, "crash")])
        except BaseException as error:  # noqa: BLE001  (raised again where it is waited for)
            errors.append(error)

    thread = threading.Thread(target=others)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    is_lost = was_mine and life.run is not None and owner(life.run.id) != (life.run.epoch, "running")
    if life.run is not None and (is_lost or life.known):
        life.known = look(life.run.id)
        life.note_step()
