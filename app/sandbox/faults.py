"""Faults on demand: the model's name says how the call fails.

`fault-KIND` fails always; `fault-KIND-once` and `fault-KIND-twice` fail that often for each content and then work.
"""

from __future__ import annotations

import re
import socket
import time
from typing import TYPE_CHECKING

from app.sandbox.errors import ApiError, unknown_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.sandbox.calls import Call, CallLog

# The last four are of chat alone: it refuses, writes half of what was asked for, breaks off at its length, or the
# connection is cut in the middle of the stream.
OF_CHAT = ("refusal", "garbled", "cut", "half")
KINDS = ("429", "quota", "500", "503", "400", "401", "slow", "broken-json", "drop", *OF_CHAT)
_NAME = re.compile(rf"fault-(?P<kind>{'|'.join(KINDS)})(?:-(?P<times>once|twice))?")
_TIMES = {"once": 1, "twice": 2}


class Dropped(Exception):
    """The connection has been cut; nothing can be answered."""


class BrokenJson(Exception):
    """Answer 200 with half a JSON document."""


def is_fault(model: str) -> bool:
    """Tell whether this model's name asks for a fault."""
    return model.startswith("fault-")


def strike(call: Call, log: CallLog, environ: Mapping[str, object], slow_seconds: float) -> str:
    """Fail as the model's name says, or return when it has failed often enough (or was only slow).

    Returns:
        The kind of a fault of chat, which is in the answer itself; otherwise nothing.

    Raises:
        ApiError, Dropped, BrokenJson: the fault.
    """
    found = _NAME.fullmatch(call.model)
    if not found:
        raise unknown_model(call.model)
    times = _TIMES.get(found["times"] or "")
    kind = found["kind"]
    if times is not None and log.strike(call.model, call.content_hash) > times:
        return ""
    if kind in OF_CHAT:
        return kind
    if kind == "slow":
        time.sleep(slow_seconds)
        return ""
    if kind == "drop":
        cut(environ)
        raise Dropped
    if kind == "broken-json":
        raise BrokenJson
    raise _error(kind)


def _error(kind: str) -> ApiError:
    errors = {
        "429": ApiError(
            429,
            "Rate limit reached. Please try again in 1s.",
            kind="requests",
            code="rate_limit_exceeded",
            headers={"Retry-After": "1"},
        ),
        "quota": ApiError(
            429,
            "You exceeded your current quota, please check your plan and billing details.",
            kind="insufficient_quota",
            code="insufficient_quota",
        ),
        "400": ApiError(400, "The request was refused.", code="invalid_value"),
        "401": ApiError(401, "Incorrect API key provided.", code="invalid_api_key"),
        "503": ApiError(503, "The engine is currently overloaded, please try again later.", kind="server_error"),
    }
    return errors.get(kind) or ApiError(
        500, "The server had an error while processing your request.", kind="server_error"
    )


def cut(environ: Mapping[str, object], how: int = socket.SHUT_RDWR) -> None:
    """Cut the connection of a request; with SHUT_WR what was sent before still arrives."""
    for name in ("werkzeug.socket", "gunicorn.socket"):
        connection = environ.get(name)
        if isinstance(connection, socket.socket):
            connection.shutdown(how)
