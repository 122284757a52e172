"""The request wall: commit or roll back, error pages, security headers, cross-site request checks."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

import psycopg
import sqlalchemy as sa
import structlog
from flask import Flask, Response, current_app, g, jsonify, redirect, render_template, request, url_for
from flask.json.provider import DefaultJSONProvider
from flask.typing import ResponseReturnValue
from flask_limiter.errors import RateLimitExceeded
from flask_login import current_user
from flask_wtf.csrf import CSRFError
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import BadRequest, HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from app import log
from app.adapters.storage import StorageFull, is_full
from app.db import db
from app.errors import AppError, Conflict, Invalid, NotFound, TooMany, Transient, Unauthenticated
from app.extensions import csrf, limiter, login_manager
from app.lib import text
from app.settings import Settings

logger = log.get(__name__)

CSP = "; ".join(  # noqa: FLY002  (one directive a line)
    (
        "default-src 'self'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)


class _Json(DefaultJSONProvider):
    """JSON as people may send it: what only Python would take for JSON is none."""

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Read JSON.

        Raises:
            ValueError: it is none, it is nested too deeply, or holds half a character, which nothing could keep.
        """
        try:
            found = super().loads(s, **kwargs)
            json.dumps(found, ensure_ascii=False).encode()
        except RecursionError:
            raise ValueError("nested too deeply") from None
        return found


class Throughline(Flask):
    """A Flask whose views commit when they return and roll back when they raise."""

    settings: Settings
    json_provider_class = _Json

    def dispatch_request(self) -> ResponseReturnValue:
        """Run the view, then commit, whatever the status it chose."""
        answer = super().dispatch_request()
        db.session.commit()
        return answer


def settings() -> Settings:
    """Return the settings of the current app."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    found: Settings = app.settings
    return found


def absolute_url(endpoint: str, **values: Any) -> str:
    """Return the public address of a page, also where there is no request (workers, the command line).

    The host is PUBLIC_URL's, never the one that a request claims.
    """
    path: str = current_app.url_map.bind("localhost").build(endpoint, values)
    return settings().public_url + path


def bearer_key() -> str | None:
    """Return the key of `Authorization: Bearer KEY` (empty when it is), or None without that header."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


def is_api_request() -> bool:
    """Tell whether the answer, also of an error, must be JSON (or tus) and never a page: also to whoever sends JSON."""
    return request.path.startswith(("/api/", "/uploads")) or request.mimetype == "application/json"


def init_app(app: Throughline) -> None:
    """Put the wall around `app`."""
    if app.settings.trusted_proxies:
        hops = app.settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    app.before_request(_name_request)
    app.before_request(_check_csrf)
    app.after_request(_add_headers)
    app.register_error_handler(AppError, _on_app_error)
    app.register_error_handler(HTTPException, _on_http_error)
    app.register_error_handler(Exception, _on_unexpected)


def _name_request() -> None:
    g.request_id = secrets.token_hex(8)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _check_csrf() -> None:
    # A bearer key is never sent by a browser on its own, so it needs no token against forged requests.
    if bearer_key() is not None:
        return
    if request.method in ("GET", "HEAD", "OPTIONS", "TRACE") or request.endpoint is None:
        return
    view = current_app.view_functions.get(request.endpoint)
    if view is not None and getattr(view, "is_csrf_exempt", False):
        return
    if is_api_request() and not current_user.is_authenticated:
        raise Unauthenticated
    csrf.protect()


def _add_headers(response: Response) -> Response:
    headers = response.headers
    headers.setdefault("Content-Security-Policy", CSP)
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Referrer-Policy", "same-origin")  # Flask-WTF needs a Referer on https POSTs
    headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    headers.setdefault("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
    if current_app.settings.has_secure_cookies:  # type: ignore[attr-defined]
        headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    if request.endpoint != "static":
        headers.setdefault("Cache-Control", "no-store" if current_user.is_authenticated else "no-cache")
        response.vary.add("HX-Request")
    return response


def error_response(error: AppError) -> ResponseReturnValue:
    """Return `error` as the client can read it: JSON for programs, a page or fragment for people."""
    headers: dict[str, str] = {}
    if isinstance(error, TooMany | Transient) and error.retry_after:
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    if is_api_request():
        body: dict[str, Any] = {"error": error.code, "message": error.message, "details": []}
        if isinstance(error, Invalid):
            body["details"] = [{"path": path, "message": text} for path, text in error.fields.items()]
        if isinstance(error, Unauthenticated):
            headers["WWW-Authenticate"] = "Bearer"
        return jsonify(body), error.status, headers
    if isinstance(error, Unauthenticated):
        if request.headers.get("HX-Request"):
            return "", 401, {"HX-Redirect": url_for("accounts.sign_in")}
        return redirect(
            url_for("accounts.sign_in", next=request.full_path.rstrip("?") if request.method == "GET" else None)
        )
    if request.headers.get("HX-Request"):
        # A whole page inside the fragment that asked would be nonsense: the sentence becomes a toast.
        headers |= {"HX-Retarget": "#toasts", "HX-Reswap": "beforeend"}
        return render_template("errors/_toast.html", error=error), error.status, headers
    return render_template("errors/error.html", error=error), error.status, headers


def _on_app_error(error: AppError) -> ResponseReturnValue:
    db.session.rollback()
    if error.status >= 500:  # noqa: PLR2004
        logger.warning("request.failed", path=_path(), error=error.code, message=error.message)
    return error_response(error)


def _on_http_error(error: HTTPException) -> ResponseReturnValue:
    db.session.rollback()
    return error_response(_translate(error))


def _translate(error: HTTPException) -> AppError:
    code = error.code or 500
    if code == 404:  # noqa: PLR2004
        return NotFound()
    if isinstance(error, RateLimitExceeded):
        return _too_often()
    if isinstance(error, CSRFError):
        found: AppError = Invalid("This page was open for too long or came from elsewhere. Reload it and try again.")
        found.status = 400
        return found
    found = Conflict(_SENTENCES.get(code) or error.description or "That did not work.")
    found.status, found.code = code, error.name.lower().replace(" ", "_")
    return found


def _path() -> str:
    # Where a part of the address is a secret, the log gets its pattern.
    has_secret = "token" in (request.view_args or {})
    return str(request.url_rule) if has_secret else request.path


def _too_often() -> TooMany:
    limit = limiter.current_limit
    wait = max(1, limit.reset_at - int(time.time())) if limit else 60
    return TooMany(f"That was too often. Try again in {text.span(wait)}.", retry_after=wait)


_SENTENCES = {
    400: "The request could not be read. Check what was sent and try again.",
    405: "This address does not take that kind of request.",
    413: "That is too large. Send less, or use the upload page for files.",
    415: "That kind of content is not understood here.",
}


# Lost, locked, full, or all connections are in use; also as the driver says it, on which the engine writes.
_DATABASE_ERRORS = (
    sa.exc.OperationalError,
    sa.exc.InterfaceError,
    sa.exc.TimeoutError,
    psycopg.OperationalError,
    psycopg.InterfaceError,
)
_DATABASE_AWAY = "The database cannot do this just now; nothing of yours was changed. Try again in a moment."


def _on_unexpected(error: Exception) -> ResponseReturnValue:
    if is_full(error):
        return _on_app_error(StorageFull())
    if isinstance(error, ParseException):  # chunks that are none: gunicorn finds them only while the body is read
        return _on_http_error(BadRequest())
    db.session.rollback()
    logger.error("request.crashed", path=_path(), exc_info=error)
    crash: AppError = AppError(
        "Something broke on our side; nothing of yours was changed. "
        f"If it happens again, report {g.get('request_id', '')}."
    )
    if isinstance(error, _DATABASE_ERRORS):
        crash = Transient(_DATABASE_AWAY, retry_after=5)
    g._login_user = login_manager.anonymous_user()  # noqa: SLF001  (else the page would ask a lost database who this is)
    try:
        return error_response(crash)
    except Exception:  # the error page itself must never be the second error
        logger.exception("request.error_page_crashed")
        return crash.message, crash.status
