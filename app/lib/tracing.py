"""Spans of OpenTelemetry, and the traceparent by which a trace goes on elsewhere. Off by default."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Span, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_tracer: Tracer | None = None
_w3c = TraceContextTextMapPropagator()
_NO_SPAN = contextlib.nullcontext(trace.INVALID_SPAN)


def enable(*, is_on: bool = True) -> None:
    """Make spans from now on, or no longer; they go wherever the tracer provider of this process sends them."""
    global _tracer  # noqa: PLW0603
    _tracer = trace.get_tracer("throughline") if is_on else None


def traceparent() -> str | None:
    """Return the W3C traceparent of the current span: what is made now hangs from it."""
    carrier: dict[str, str] = {}
    if _tracer is not None:
        _w3c.inject(carrier)
    return carrier.get("traceparent")


def span(name: str, parent: str | None = None, **attributes: Any) -> AbstractContextManager[Span]:
    """Return a span for a `with` block, below `parent` (a traceparent) or else the current one."""
    return _NO_SPAN if _tracer is None else _span(_tracer, name, parent, attributes)


@contextlib.contextmanager
def _span(tracer: Tracer, name: str, parent: str | None, attributes: Mapping[str, Any]) -> Iterator[Span]:
    told = {f"throughline.{key}": value if isinstance(value, int) else str(value) for key, value in attributes.items()}
    context = _w3c.extract({"traceparent": parent}) if parent else None
    # Neither text nor traceback of an error: they may hold what must not leave the house.
    with tracer.start_as_current_span(
        name, context, attributes=told, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield current
        except Exception as error:
            current.set_attribute("error.type", type(error).__name__)
            current.set_status(StatusCode.ERROR)
            raise
