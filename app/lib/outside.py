"""The gate that every call to the outside world passes.

Adapters call `before_outside_call()` right before they leave the process (a model, a mail, a media child).
The database closes or refuses an open transaction there, and the engine refuses calls of a worker that
has lost its lease; neither has to know the adapters.
"""

from __future__ import annotations

from collections.abc import Callable

Guard = Callable[[], None]
_guards: dict[str, Guard] = {}


def guard(name: str, check: Guard, *, first: bool = False) -> None:
    """Register `check` under `name` (a second one of that name replaces the first); it raises to refuse.

    `first`: before all others, for a check that must look before another one ends the transaction.
    """
    _guards.pop(name, None)
    others = dict(_guards)
    _guards.clear()
    _guards.update({name: check, **others} if first else {**others, name: check})


def before_outside_call() -> None:
    """Run every registered check; the first that raises stops the call."""
    for check in _guards.values():
        check()
