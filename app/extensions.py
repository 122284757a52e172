"""The Flask extensions, made once and bound to the app by create_app()."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import redis
from flask import Flask, request
from flask_limiter import Limiter
from flask_login import LoginManager
from flask_wtf.csrf import CSRFProtect
from htmx_flask import Htmx

from app.db import db

if TYPE_CHECKING:
    from app.settings import Settings

login_manager = LoginManager()
csrf = CSRFProtect()
htmx = Htmx()
# Without its headers: what is left of an address's limit would tell strangers how often its owner signs in.
limiter = Limiter(key_func=lambda: request.remote_addr or "unknown", strategy="moving-window")


def redis_client(settings: Settings, *, blocks: bool = False) -> redis.Redis:
    """Return a new Redis client.

    `blocks`: for connections that wait for messages; redis-py 8 otherwise gives up after 5 s. All others time
    out after 250 ms without a retry, because a lost hint costs less than a request that hangs.
    """
    if blocks:
        return redis.Redis.from_url(settings.redis_url, socket_timeout=None, socket_connect_timeout=2)
    return redis.Redis.from_url(settings.redis_url, **_impatient())


def _impatient() -> dict[str, Any]:
    return {
        "socket_timeout": 0.25,
        "socket_connect_timeout": 0.25,
        "retry": redis.retry.Retry(redis.backoff.NoBackoff(), 0),
    }


def init_app(app: Flask, settings: Settings) -> None:
    """Bind every extension to `app`."""
    app.config.update(
        SECRET_KEY=settings.secret_key,
        SQLALCHEMY_DATABASE_URI=settings.database_url,
        SQLALCHEMY_ENGINE_OPTIONS={
            # With the engine's own (app.engine.runtime): 20 in a web process, 32 in a worker.
            "pool_size": 10,
            "max_overflow": 8,
            "pool_pre_ping": True,
            "pool_timeout": 10,
            "hide_parameters": True,  # else the values of a failed statement, secrets among them, are in its error
        },
        SESSION_COOKIE_NAME="__Host-session" if settings.has_secure_cookies else "session",
        SESSION_COOKIE_SECURE=settings.has_secure_cookies,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_REFRESH_EACH_REQUEST=False,  # accounts renews it; files that caches keep must carry no cookie
        PERMANENT_SESSION_LIFETIME=timedelta(days=settings.session_days),
        # Flask-Login's second cookie is never set here, and reading what others put into it can crash: no cookie
        # can have this name.
        REMEMBER_COOKIE_NAME="=",
        WTF_CSRF_TIME_LIMIT=None,
        WTF_CSRF_CHECK_DEFAULT=False,  # app.web checks it, so that bearer keys need no token
        MAX_CONTENT_LENGTH=1 << 20,  # pages and JSON; uploads raise it for their own requests
        # The limits library spells the address of a unix socket its own way.
        RATELIMIT_STORAGE_URI=settings.redis_url.replace("unix://", "redis+unix://", 1) or "memory://",
        RATELIMIT_STORAGE_OPTIONS=_impatient() if settings.redis_url else {},
        RATELIMIT_KEY_PREFIX=f"{settings.redis_namespace}:limits",
        RATELIMIT_ENABLED=settings.rate_limits_enabled,
        RATELIMIT_IN_MEMORY_FALLBACK_ENABLED=True,  # a lost Redis must not make every page a 500
        SOCK_SERVER_OPTIONS={"ping_interval": 25, "max_message_size": 65536},
    )
    db.init_app(app)
    login_manager.init_app(app)
    login_manager.session_protection = "basic"
    csrf.init_app(app)
    limiter.init_app(app)
    htmx.init_app(app)
