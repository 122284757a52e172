"""The WebSocket endpoint `/live?topics=video:<id>/page,run:<id>/page`."""

from __future__ import annotations

from typing import Any, cast

from flask import Blueprint, Flask, current_app, g, request, url_for
from flask_sock import Sock

from app import web
from app.db import db
from app.errors import AppError, Invalid, TooMany
from app.live import admission
from app.live.bus import EXTENSION
from app.live.connection import AtomicSocket, Connection
from app.live.hub import Hub

bp = Blueprint("live", __name__)
sock = Sock()


def register(app: Flask) -> None:
    """Register the endpoint, the hub of this app and `live_url()` for templates."""
    app.extensions[EXTENSION] = Hub(cast("web.Throughline", app))
    app.register_blueprint(bp)
    app.add_template_global(live_url)


def live_url(*names: str) -> str:
    """Return the address that watches `names`, such as `video:<id>/page`."""
    return f"{url_for('live.watch')}?topics={','.join(names)}"


@bp.before_request
def admit() -> Any:
    """Refuse the handshake here: flask-sock accepts it before it calls the view."""
    try:
        _admit()
    except AppError as error:
        return error.message, error.status, {"Content-Type": "text/plain; charset=utf-8"}
    return None


def _admit() -> None:
    admission.check_origin(request, web.settings().public_url)
    if not request.headers.get("Sec-WebSocket-Key") or request.headers.get("Sec-WebSocket-Version") != "13":
        raise Invalid("This address speaks WebSocket, version 13.")
    visitor = admission.visitor(request)
    hub = _hub()
    if hub.count(visitor.user_id) >= hub.sockets_per_person:
        raise TooMany("You have too many pages open. Close some, then reload this one.")
    names = admission.choose(request.args.get("topics", ""))
    # The socket may live for hours: it must not hold a database connection.
    db.session.remove()
    g.live_visitor, g.live_names = visitor, names
    _prepare(request.environ)


def _prepare(environ: dict[str, Any]) -> None:
    """Make the server's socket fit for simple-websocket.

    Compression is not negotiated: a compressor costs 256 KiB a socket, and each would compress the same bytes again.
    """
    environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
    for key in ("gunicorn.socket", "werkzeug.socket"):
        if key in environ:
            environ[key] = AtomicSocket(environ[key])


def _hub() -> Hub:
    return cast("Hub", current_app.extensions[EXTENSION])


@sock.route("/live", bp=bp)  # type: ignore[untyped-decorator]
def watch(ws: Any) -> None:
    """Send the fragments of the admitted topics until either side closes."""
    hub, connection = _hub(), Connection(ws, g.live_visitor, g.live_names)
    hub.join(connection)
    try:
        connection.serve()
    finally:
        hub.leave(connection)
