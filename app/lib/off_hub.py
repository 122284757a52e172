"""Blocking calls beside gevent's hub: a library that waits in native code would stop every other greenlet meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

THREADS = 16  # of our own: a silent store must not hold the hub's ten, which look up names for everybody
_pools: dict[int, Any] = {}


def call(function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
    """Return `function(*args, **kwargs)`: made in a real thread where gevent runs this process, else right here.

    Only the calling greenlet waits. What it raises is raised here. It runs without the caller's app context, so it
    must touch neither the database session nor `flask.g`.
    """
    if not _is_under_gevent():
        return function(*args, **kwargs)
    from gevent import get_hub
    from gevent.threadpool import ThreadPool

    hub = get_hub()
    if id(hub) not in _pools:
        _pools[id(hub)] = ThreadPool(THREADS, hub=hub)
    made: Result = _pools[id(hub)].apply(function, args, kwargs)
    return made


def _is_under_gevent() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))
