"""The development outbox: mails that had nowhere to go. Only registered without a Resend key, never in production."""

from __future__ import annotations

import ipaddress

from flask import Blueprint, make_response, render_template, request
from flask.typing import ResponseReturnValue
from flask_login import current_user

from app.adapters import outbox
from app.db import db
from app.errors import NotFound
from app.lib.ids import parse_id

bp = Blueprint("outbox", __name__, url_prefix="/dev/outbox")
_OWN_NAMES = ("localhost", "127.0.0.1", "[::1]")


@bp.before_request
def only_for_the_developer() -> None:
    """Let in the developer: an administrator, or a browser on this very machine.

    Whoever reads this page can sign in as anybody. So a request from this machine must also have come straight
    (a proxy in front would make everybody local) and by a name of this machine (else a foreign page whose name
    is made to point here could read it).
    """
    if current_user.is_authenticated and current_user.is_admin:
        return
    forwarded = any(name in request.headers for name in ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via"))
    name = request.host.rsplit(":", 1)[0] if not request.host.endswith("]") else request.host
    if forwarded or name not in _OWN_NAMES or not _is_this_machine(request.remote_addr or ""):
        raise NotFound


@bp.get("")
def index() -> ResponseReturnValue:
    """List the newest mails."""
    outbox.forget_secrets(db.session())
    return _page("outbox.html", mails=outbox.list_outbox(db.session()))


@bp.get("/<mail_id>")
def show(mail_id: str) -> ResponseReturnValue:
    """Show one mail as text, with its links to click."""
    outbox.forget_secrets(db.session())
    return _page("outbox_mail.html", mail=_find(mail_id))


@bp.get("/<mail_id>/html")
def show_html(mail_id: str) -> ResponseReturnValue:
    """Show one mail as a mail program would, shut in: no scripts, nothing of ours in reach."""
    answer = make_response(_find(mail_id).html)
    # Mails carry their styles with them; the sandbox gives this page no origin, so its links open outside the frame.
    answer.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; "
        "sandbox allow-popups allow-popups-to-escape-sandbox allow-top-navigation-by-user-activation"
    )
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _find(mail_id: str) -> outbox.OutboxMail:
    identity = parse_id(mail_id)
    found = outbox.find_in_outbox(db.session(), identity) if identity else None
    if found is None:
        raise NotFound
    return found


def _is_this_machine(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False


def _page(template: str, **values: object) -> ResponseReturnValue:
    answer = make_response(render_template(f"accounts/{template}", **values))
    answer.headers["Cache-Control"] = "no-store"
    return answer
