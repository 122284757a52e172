"""Starting the engine in a process: its ports, its hooks into sessions, its guard of outside calls."""

import functools

from app.engine import current, sending, waits
from app.engine.errors import OutsideCallRefused
from app.engine.queue import Hints
from app.engine.runtime import Ports, install, runtime
from app.lib import away, outside, timeouts

LOOK_SECONDS = 0.25  # for which whoever sends an event looks for waits; workers leave that to a thread


def start(ports: Ports) -> None:
    """Start the engine of this process with what the application hands it."""
    state = install(ports)
    state.look_for_waits = functools.partial(waits.look_for_waits, seconds=LOOK_SECONDS)
    if ports.redis_url:
        hints = Hints(ports.redis_url, ports.namespace)
        state.hint, state.show_failed = hints.give, hints.show_failed
    sending.listen()
    timeouts.listen(ports.engine)
    away.listen(ports.engine)
    outside.guard("engine", refuse_outside_call, first=True)  # the database's guard drops what was collected


def refuse_outside_call() -> None:
    """Refuse a call outside that could not be answered for.

    Raises:
        LostLease: another worker may be doing the same call.
        Abandoned: this try of the step has timed out.
        OutsideCallRefused: inside `step.transaction`, with events, cancellations or reruns that are not committed, or
            in a thread of which it is not known to what it belongs.
    """
    current.refuse_under_lost_lease()
    attempt = current.attempt()
    if attempt is not None and attempt.is_transaction:
        raise OutsideCallRefused(f"Step {attempt.key!r} is a transaction: make the outside call in a step before it.")
    if _is_stray():
        raise OutsideCallRefused(current.STRAY)
    if sending.has_uncommitted():
        raise OutsideCallRefused("Commit what was sent, cancelled or run again, or do that after the outside call.")


def _is_stray() -> bool:
    try:
        runtime().ports.session.registry.has()
    except RuntimeError:  # Flask's, outside of an app context: this thread is no request's either
        return bool(current.executed) and current.execution() is None
    return False
