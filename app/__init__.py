"""Throughline: videos in, finished work out. `create_app()` puts the house together."""

from __future__ import annotations

import importlib
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:  # the command and gunicorn's parent import `app.settings` only, and must start at once
    from collections.abc import Callable

    from app.engine import Verdict
    from app.settings import Settings
    from app.web import Throughline

ROOT = Path(__file__).resolve().parent.parent


def create_app(settings: Settings | None = None) -> Throughline:
    """Build the application: settings, extensions, engine, rooms, error pages, in that order."""
    from app import extensions, log, tracing, ui, web
    from app.settings import Settings

    settings = settings or Settings.from_environment()
    log.configure(settings)
    app = web.Throughline("app", template_folder=str(ROOT / "templates"), static_folder=str(ROOT / "static"))
    app.settings = settings
    extensions.init_app(app, settings)
    web.init_app(app)
    tracing.init_app(app)
    ui.init_app(app)
    _choose_adapters(app)
    _start_engine(app)
    _open_rooms(app)
    importlib.import_module(settings.workflows)
    return app


def _choose_adapters(app: Throughline) -> None:
    from app.adapters import ADAPTERS

    for name in ADAPTERS:
        module = importlib.import_module(f"app.adapters.{name}")
        app.extensions[f"throughline.{name}"] = module.from_settings(app.settings)


def _start_engine(app: Throughline) -> None:
    from app import engine, live
    from app.db import db

    settings = app.settings
    with app.app_context():
        ports = engine.Ports(
            engine=db.engine,
            session=db.session,  # type: ignore[arg-type]  # its sessions are a subclass
            app_context=app.app_context,
            classify=_classify,
            ai=_ask,
            publish=lambda topics: live.publisher(app)(topics),  # noqa: PLW0108  (made when the rooms open)
            redis_url=settings.redis_url,
            namespace=settings.redis_namespace,
            lease_seconds=settings.lease_seconds,
            run_threads=settings.run_threads,
            step_threads=settings.step_threads,
            retention=timedelta(days=settings.retention_days) if settings.retention_days else None,
            isolated_processes=settings.isolated_processes,
            drain_seconds=settings.drain_seconds,
        )
    engine.start(ports)


def _ask(
    *,
    messages: list[dict[str, Any]],
    key: str,
    write: Callable[[str], None],
    schema: Any = None,
    model: str | None = None,
    max_output_tokens: int = 4_000,
    schema_name: str = "",
) -> dict[str, Any]:
    """Answer `step.ai`: paid by the owner of its run, within their budget, metered under the step's key."""
    from app import engine
    from app.accounts import service as accounts
    from app.errors import Permanent

    run_id, _, step = key.partition("/")
    run = engine.get_run(UUID(run_id))
    if run is None or run.owner_id is None:
        raise Permanent("A model can be asked only in a run that has an owner, who pays for it.")
    call = {"schema": schema, "schema_name": schema_name, "write": write, "model": model, "step": step}
    answer = accounts.ask(run.owner_id, messages, max_output_tokens=max_output_tokens, run_id=run.id, **call)
    return {
        "output": answer.text if schema is None else answer.data,
        "model": answer.model,
        "input_tokens": answer.input_tokens,
        "output_tokens": answer.output_tokens,
        "cost_microusd": accounts.chat_price(answer.input_tokens, answer.output_tokens),
    }


def _classify(error: Exception) -> Verdict:
    """Tell the engine whether trying again can help: errors of the product carry that themselves."""
    from app.adapters.storage import StorageFull, is_full
    from app.engine import Verdict
    from app.errors import AppError, Busy, Invalid, NotFound, Permanent, Transient

    if is_full(error):
        error = StorageFull()
    if isinstance(error, Transient):
        return Verdict(True, error.retry_after, error.code, error.message, is_deferral=isinstance(error, Busy))
    if isinstance(error, AppError):
        return Verdict(not isinstance(error, Permanent | Invalid | NotFound), None, error.code, error.message)
    return Verdict(True, is_foreseen=False)


def _open_rooms(app: Throughline) -> None:
    from app import health

    health.register(app)
    for room in ("live", "accounts", "videos", "runs", "home"):
        importlib.import_module(f"app.{room}.routes").register(app)
