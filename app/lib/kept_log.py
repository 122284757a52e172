"""A structlog logger whose lines are also kept somewhere else."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

import structlog

from app.lib.json_text import text_of
from app.lib.redaction import hide_secrets


def keeping(logger: Any, keep: Callable[[str, str, dict[str, Any]], None]) -> Any:
    """Return a structlog logger that writes to `logger`, and gives `keep(level, text, fields)` what is no debug line.

    That is so whatever level `logger` writes. The fields are those of the line without secrets; `exception()` adds
    `error`, the class and the text of what is being handled.
    """

    def process(_logger: Any, level: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        text = str(event.pop("event", ""))
        getattr(logger, level)(text, **event)
        if level != "debug":
            if event.pop("exc_info", None) and (error := sys.exception()) is not None:
                event["error"] = f"{type(error).__name__}: {text_of(error)}"
            keep(level, text, hide_secrets(event))
        raise structlog.DropEvent

    levels = structlog.make_filtering_bound_logger(logging.DEBUG)
    return structlog.wrap_logger(None, processors=[process], wrapper_class=levels)
