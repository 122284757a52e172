"""OpenTelemetry, when OTEL_ENABLED is on: a span for each request, and the engine's for runs and steps.

Where they go is said by OpenTelemetry's own OTEL_* variables. The exporter is a package that the user installs.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from flask import Flask, Response, request
from opentelemetry import propagate, trace

from app.lib import tracing
from app.lib.environment import SettingsError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

HEADERS = ("traceparent", "tracestate")
HOW = "`pip install opentelemetry-sdk opentelemetry-exporter-otlp`, or turn OTEL_ENABLED off"


def init_app(app: Flask) -> None:
    """Trace the requests and runs of this process, if the settings say so.

    Raises:
        SettingsError: the packages that this takes are not installed.
    """
    settings = app.settings  # type: ignore[attr-defined]
    tracing.enable(is_on=settings.is_traced)
    if not settings.is_traced:
        return
    if isinstance(
        trace.get_tracer_provider(), trace.ProxyTracerProvider
    ):  # else `opentelemetry-instrument` has set one
        _provide(settings.traces_exporter)
    app.wsgi_app = _Traced(app.wsgi_app)  # type: ignore[method-assign]
    app.after_request(_describe)


class _Traced:
    """Each request in a span, below that of the caller's `traceparent` header."""

    def __init__(self, inner: WSGIApplication) -> None:
        self._inner = inner
        self._tracer = trace.get_tracer("throughline.web")

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if "HTTP_UPGRADE" in environ:  # a socket stays for hours
            return self._inner(environ, start_response)
        caller = propagate.extract(
            {name: environ.get(f"HTTP_{name.upper()}", "") for name in ("traceparent", "tracestate")}
        )
        with self._tracer.start_as_current_span(environ["REQUEST_METHOD"], caller, trace.SpanKind.SERVER):
            return self._inner(environ, start_response)


def _describe(response: Response) -> Response:
    """Name the span after the address's pattern: an address itself may hold a secret."""
    span = trace.get_current_span()
    span.update_name(f"{request.method} {request.url_rule or 'unknown'}")
    span.set_attribute("http.response.status_code", response.status_code)
    return response


def _provide(exporter: str) -> None:
    try:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise SettingsError(f"OTEL_ENABLED needs the OpenTelemetry SDK: {HOW}.") from None
    found = tuple(entry_points(group="opentelemetry_traces_exporter", name=exporter))
    if not found:
        raise SettingsError(f"OTEL_TRACES_EXPORTER names {exporter!r}, which is not installed: {HOW}.")
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(found[0].load()()))
    trace.set_tracer_provider(provider)
