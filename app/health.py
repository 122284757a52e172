"""Is everything up? `/health` and `/healthz` say that we are alive, `/readyz` that every part is there."""

from __future__ import annotations

import hmac
import shutil
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

import sqlalchemy as sa
from flask import Blueprint, Flask, abort, current_app, g, jsonify
from flask.typing import ResponseReturnValue

from app import engine, log, schema
from app.adapters import storage as files
from app.db import db
from app.errors import AppError
from app.extensions import login_manager, redis_client
from app.lib.clock import now
from app.settings import Settings
from app.web import bearer_key

logger = log.get(__name__)

UPKEEP_SILENCE = timedelta(seconds=30)
LITTLE_SPACE_BYTES = 100_000_000

bp = Blueprint("health", __name__)


@dataclass(frozen=True)
class Check:
    """What was found of one part; `sentence` says what is there, or how to mend it."""

    name: str
    is_ok: bool
    sentence: str


def register(app: Flask) -> None:
    """Register the health pages."""
    app.register_blueprint(bp)


@bp.get("/health")
@bp.get("/healthz")
def alive() -> ResponseReturnValue:
    """Answer as long as this process can."""
    return jsonify(status="ok")


@bp.get("/readyz")
def ready() -> ResponseReturnValue:
    """Answer 200 when every part is up, else 503 naming those which are not."""
    found = look((*READY, store))
    missing = {one.name: one.sentence for one in found if not one.is_ok}
    return jsonify(status="unready" if missing else "ready", missing=missing), 503 if missing else 200


@bp.get("/metrics")
def metrics() -> ResponseReturnValue:
    """Answer the engine's figures for Prometheus: to whoever has METRICS_TOKEN; without that setting there are none."""
    wanted = _settings().metrics_token
    if not wanted:
        abort(404)
    g._login_user = login_manager.anonymous_user()  # noqa: SLF001  (the token is nobody's key, so nobody is looked up)
    if not hmac.compare_digest((bearer_key() or "").encode(), wanted.encode()):
        return _plain("Send Authorization: Bearer METRICS_TOKEN.\n", 401, {"WWW-Authenticate": "Bearer"})
    try:
        page, kind = engine.metrics_page()
    except sa.exc.SQLAlchemyError as error:
        logger.warning("metrics.failed", error=type(error).__name__)
        return _plain("The database does not answer. Is PostgreSQL up, and DATABASE_URL right?\n", 503)
    return page, {"Content-Type": kind}


def self_test() -> list[Check]:
    """Look at every part."""
    return look((*READY, upkeep, storage, media, models))


def look(checks: tuple[Callable[[], Check], ...]) -> list[Check]:
    """Run the checks in order; each fails alone."""
    found = []
    for check in checks:
        try:
            found.append(check())
        except sa.exc.SQLAlchemyError as error:
            db.session.rollback()
            logger.warning("health.failed", check=check.__name__, error=type(error).__name__)
            found.append(_bad(check.__name__, "The database could not tell. Mend the lines above first."))
    return found


def database() -> Check:
    """Look for the database and its pgvector extension."""
    try:
        with db.engine.connect() as connection:
            version = connection.scalar(sa.text("SHOW server_version"))
            has_vector = connection.scalar(sa.text("SELECT 1 FROM pg_extension WHERE extname = 'vector'"))
    except sa.exc.SQLAlchemyError:
        return Check("database", is_ok=False, sentence="It does not answer. Is PostgreSQL up, and DATABASE_URL right?")
    if not has_vector:
        return Check("database", is_ok=False, sentence="pgvector is missing. Run `throughline migrate`.")
    return Check("database", is_ok=True, sentence=f"PostgreSQL {version} with pgvector")


def redis() -> Check:
    """Look for Redis."""
    try:
        with redis_client(_settings()) as connection:
            connection.ping()
    except Exception as error:  # noqa: BLE001  (whatever it is, the person gets the same sentence)
        return _bad("Redis", f"It does not answer ({type(error).__name__}). Is it up, and REDIS_URL right?")
    return Check("Redis", is_ok=True, sentence="answers")


def migrations() -> Check:
    """Compare the database's revision with the one that this code needs."""
    is_at, wanted = schema.current(), schema.newest()
    if is_at != wanted:
        return _bad("migrations", f"It is at {is_at or 'nothing'}, not at {wanted}. Run `throughline migrate`.")
    return Check("migrations", is_ok=True, sentence=f"at {is_at}")


def worker() -> Check:
    """Look for the heartbeat of a worker."""
    alive = [one for one in engine.list_workers() if one.kind == "worker" and one.is_alive]
    if not alive:
        return _bad("worker", "No worker was heard of for half a minute. Start one: `throughline worker`.")
    if any(one.isolated for one in engine.list_workflows()) and not _is_isolated_alive():
        return _bad("worker", "Nobody runs isolated workflows. Start `throughline worker --isolated`, or see its log.")
    return Check("worker", is_ok=True, sentence=f"{len(alive)} alive, {sum(one.threads for one in alive)} threads")


def _is_isolated_alive() -> bool:
    return any(one.kind == "isolated" and one.is_alive for one in engine.list_workers())


def upkeep() -> Check:
    """Look for the last finished pass of upkeep, which a worker or an upkeep process makes."""
    last = engine.last_upkeep()
    if last is None:  # also in the seconds after a start
        return _bad("upkeep", "No pass was made yet. Just started? Ask again soon; if not: `throughline upkeep`.")
    if now() - last > UPKEEP_SILENCE:
        return _bad("upkeep", "Nobody keeps the engine's time. Start it: `throughline upkeep`.")
    return Check("upkeep", is_ok=True, sentence=f"last pass {max(0, round((now() - last).total_seconds()))} s ago")


def store() -> Check:
    """Ask the store of files for a sign of life."""
    try:
        return Check("storage", is_ok=True, sentence=files.storage().check())
    except files.Unreachable as error:
        return _bad("storage", error.hint)


def storage() -> Check:
    """Write a file where uploads arrive and one where they are kept, and take them away again."""
    folder = _settings().data_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"ok")
            probe.flush()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return _bad("storage", f"{folder} cannot be written ({error.strerror}). Free space or mend its permissions.")
    if free < LITTLE_SPACE_BYTES:
        return _bad("storage", f"Only {free // 1_000_000} MB are free on the disk of {folder}. Free some.")
    try:
        kept = files.storage().check(thoroughly=True)
    except files.Unreachable as error:
        return _bad("storage", error.hint)
    except AppError as error:
        return _bad("storage", error.message)
    where = folder if _settings().bucket is None else f"{kept}; uploads arrive in {folder}"
    return Check("storage", is_ok=True, sentence=f"{where}, {free // 1_000_000_000} GB free")


def media() -> Check:
    """Look for the decoders."""
    try:
        import av
    except ImportError:
        return _bad("media", "PyAV cannot be loaded. Run `make install`.")
    return Check("media", is_ok=True, sentence=f"PyAV {av.__version__}")


def models() -> Check:
    """Ask the servers of every capability for a sign of life (a connection; no model is called, nothing is paid)."""
    settings = _settings()
    silent = [
        f"{name} ({url})"
        for name, provider in settings.providers.items()
        if not _listens(url := provider.base_url or "https://api.openai.com/v1")
    ]
    if silent:
        return _bad("models", f"No answer from {', '.join(silent)}. Is it up, and its BASE_URL right?")
    if settings.is_sandboxed:
        return Check("models", is_ok=True, sentence="the sandbox's: free, offline and rough")
    named = ", ".join(provider.model for provider in settings.providers.values())
    return Check("models", is_ok=True, sentence=named)


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=3).close()
    except OSError:
        return False
    return True


def _bad(name: str, sentence: str) -> Check:
    return Check(name, is_ok=False, sentence=sentence)


def _plain(sentence: str, status: int, headers: dict[str, str] | None = None) -> ResponseReturnValue:
    return sentence, status, {"Content-Type": "text/plain; charset=utf-8", **(headers or {})}


def _settings() -> Settings:
    found: Settings = current_app.settings  # type: ignore[attr-defined]
    return found


READY = (database, migrations, redis, worker)
