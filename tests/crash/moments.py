"""The worst moments: a worker that was told one strikes itself there, once, with a real signal.

TEST_STRIKE is a signal and a moment, for example `SIGKILL two.committed`. The moments of a step are <key>.worked (its
work is done, nothing is written), <key>.checkpointed (written, not committed) and <key>.committed (nothing else has
happened since); the others stand in PLACES. What a moment patches must be there: a renamed function fails the test.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from app.engine import (
    actions,
    advance,
    children,
    endings,
    memory,
    process,
    starting,
    store,
    store_admission,
    upkeep,
    waits,
)
from app.engine.after import After

Strike = Callable[[], None]


def arm() -> None:
    """Be ready to strike as TEST_STRIKE says; without it, do nothing."""
    wish = os.environ.get("TEST_STRIKE")
    if not wish:
        return
    number, moment = wish.split(" ")
    once = threading.Lock()

    def strike() -> None:
        if once.acquire(blocking=False):
            # To this very thread: sent to the process, the signal lets it go on until another thread has taken it.
            signal.pthread_kill(threading.get_ident(), signal.Signals[number])

    key, _, part = moment.rpartition(".")
    if part in STEP_PLACES:
        STEP_PLACES[part](strike, key)
    else:
        PLACES[moment](strike)


def widen(seconds: float) -> None:
    """Stay for a while in the moments on which all hangs, so that a storm's strikes find processes there.

    After the worker's own look at its lease and before the checkpoint, where only the database's fence is left; between
    the checkpoint and its COMMIT; and between the count of a key's slots and the claim.
    """
    pause = functools.partial(time.sleep, seconds)
    _before(memory, "_commit", pause)
    _after(store, "checkpoint", functools.partial(time.sleep, seconds / 4))
    _after(store_admission, "free_slots", functools.partial(time.sleep, seconds / 2))


def _before(owner: Any, name: str, strike: Strike, when: Callable[..., object] = lambda *_: True) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def patched(*args: Any, **kwargs: Any) -> Any:
        if when(*args):
            strike()
        return original(*args, **kwargs)

    setattr(owner, name, patched)


def _after(owner: Any, name: str, strike: Strike, when: Callable[..., object] = lambda result, *_: result) -> None:
    """Strike after the function has returned, when `when(result, *args)` says so."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def patched(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if when(result, *args):
            strike()
        return result

    setattr(owner, name, patched)


def _in_upkeep(*_: object) -> bool:
    return threading.current_thread().name == "upkeep"


def _in_matcher(_connection: object, ids: list[object], _until: float) -> bool:
    return threading.current_thread().name == "matcher" and bool(ids)


def _is_invoked(_written: object, _connection: object, runs: list[Any]) -> bool:
    return any(run.parent_step for run in runs)


def _admission_claimed(strike: Strike) -> None:
    original = store.claim_these

    def patched(*args: Any, **kwargs: Any) -> Any:
        found = original(*args, **kwargs)
        if found and kwargs.get("admitted"):
            strike()
        return found

    store.claim_these = patched


def _claim_committed(strike: Strike) -> None:
    _after(advance, "claim_batch", strike)
    _after(advance, "claim_one", strike)


STEP_PLACES: dict[str, Callable[[Strike, str], None]] = {
    "worked": lambda strike, key: _before(memory, "_commit", strike, lambda memo: memo.key == key),
    "checkpointed": lambda strike, key: _after(
        store, "checkpoint", strike, lambda _stored, _connection, memo: memo.key == key
    ),
    # The first thing after the commit, of a success and of a failure alike.
    "committed": lambda strike, key: _before(memory, "_keep", strike, lambda _draft, memo, *_: memo.key == key),
}
PLACES: dict[str, Callable[[Strike], None]] = {
    "start": lambda strike: _before(process.signals, "listen", strike),
    "claim-committed": _claim_committed,
    "admission-written": _admission_claimed,
    "admission-committed": lambda strike: _after(store_admission, "admit", strike),
    "failed-try-written": lambda strike: _after(store, "record_attempt", strike),
    "park-written": lambda strike: _after(
        store, "leave", strike, lambda is_done, _connection, _run, status: is_done and status == "waiting"
    ),
    # The first thing after the commit of a park, an ending or a giving back.
    "leaving-committed": lambda strike: _before(After, "tell", strike, lambda told: told.topics and not _in_upkeep()),
    "finish-written": lambda strike: _after(endings, "finish", strike, lambda ended, *_: ended.is_done),
    "finish-committed": lambda strike: _after(advance, "finish_repeating", strike, lambda ended, *_: ended.is_done),
    # A wait: its row is committed and nobody has looked back; its event is taken, in a transaction that is not committed.
    "wait-registered": lambda strike: _before(waits, "look_back", strike),
    "wait-taken": lambda strike: _after(waits, "_close", strike),
    # Of an event that a worker sent: it is committed, and whom it ends is not looked for yet.
    "event-committed": lambda strike: _before(waits, "_look_for_waits", strike, _in_matcher),
    "child-inserted": lambda strike: _after(starting, "insert_runs", strike, _is_invoked),
    "child-committed": lambda strike: _after(children, "_start", strike, lambda *_: True),
    "parent-woken": lambda strike: _after(store, "wake", strike),  # in the transaction of its child's ending
    "one-replayed": lambda strike: _after(actions, "replay", strike),
    "rescue-written": lambda strike: _before(store_admission, "promote", strike, _in_upkeep),
    "rescue-committed": lambda strike: _after(upkeep, "_rescue", strike),
}
