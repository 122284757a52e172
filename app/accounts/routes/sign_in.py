"""Signing in and out (docs/decisions/0010-sign-in.md)."""

from __future__ import annotations

from typing import Any

from flask import make_response, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user
from werkzeug.wrappers import Response

from app.accounts import forms, queries, service
from app.accounts.routes.blueprint import bp
from app.accounts.routes.identity import enter, network, remember_theme
from app.accounts.service.delivery import deliver
from app.adapters.mailer import compose
from app.db import db
from app.errors import Invalid
from app.extensions import limiter
from app.lib.email import normalise_email
from app.lib.paths import own_path
from app.lib.signing import fingerprint, new_secret
from app.web import absolute_url, settings

_WRONG_CODE = (
    "That code does not work: it is wrong, used, over 15 minutes old, or was tried five times. "
    "Look at the newest mail, or ask for another one."
)
# What the browser that asked keeps in its (signed, __Host-) session cookie while the mail is on its way.
BROWSER, EMAIL, NEXT = "sign_in_browser", "sign_in_email", "sign_in_next"


def _address_key() -> str:
    # Hashed: what limits count by lies in Redis and in logs.
    typed = request.form.get("email", "")
    return fingerprint(normalise_email(typed) or typed)[:32]


@bp.get("/sign-in")
def sign_in() -> ResponseReturnValue:
    """Show the form that asks for an address."""
    next_path = own_path(request.args.get("next")) or ""
    if current_user.is_authenticated:
        return redirect(next_path or "/")
    return _page("sign_in.html", email=request.args.get("email", "")[:320], next_path=next_path)


@bp.post("/sign-in")
@limiter.limit("20/minute;200/day", key_func=network, scope="network")
@limiter.limit("4/10minutes", key_func=lambda: f"{_address_key()}:{network()}", scope="address-network")
@limiter.limit("12/hour", key_func=_address_key, scope="address")
def ask_for_mail() -> ResponseReturnValue:
    """Send a link and a code, and answer the same whoever asked."""
    next_path = own_path(request.form.get("next")) or ""
    try:
        email = forms.read_email(request.form)
    except Invalid as error:
        typed = request.form.get("email", "")[:320]
        return _page("sign_in.html", 422, email=typed, next_path=next_path, errors=error.fields)
    browser = session.get(BROWSER) or new_secret()
    started = service.start_sign_in(email, browser=browser, next_path=next_path)
    mail = compose(
        "sign-in",
        to=email,
        is_secret=True,
        link=absolute_url("accounts.show_link", token=started.link_token),
        code=started.code,
        minutes=15,
    )
    db.session.commit()
    if started.is_welcome:
        deliver(mail, idempotency_key=f"sign-in/{started.id}")
    session[BROWSER], session[EMAIL], session[NEXT] = browser, email, next_path
    return redirect(url_for("accounts.enter_code"), 303)


@bp.get("/sign-in/code")
def enter_code() -> ResponseReturnValue:
    """Show where to look for the mail, and the field for its code."""
    if EMAIL not in session:
        return redirect(url_for("accounts.sign_in"))
    return _page("sign_in_code.html", **_about_mail())


@bp.post("/sign-in/code")
@limiter.limit("30/10minutes;200/day", key_func=network, scope="network")
def use_code() -> ResponseReturnValue:
    """Sign in with the code, in the browser that asked for it."""
    if EMAIL not in session:
        return redirect(url_for("accounts.sign_in"), 303)
    next_path = session.get(NEXT, "")
    try:
        code = forms.read_code(request.form)
    except Invalid as error:
        return _page("sign_in_code.html", 422, errors=error.fields, **_about_mail())
    done = service.consume_code(code, email=session[EMAIL], browser=session[BROWSER])
    if done is None:
        return _page("sign_in_code.html", 422, errors={"code": _WRONG_CODE}, **_about_mail())
    return _enter(done, done.next_path or next_path)


@bp.get("/sign-in/link/<token>")
@limiter.limit("60/minute", key_func=network, scope="network")
def show_link(token: str) -> ResponseReturnValue:
    """Show one button. Nothing is used up here, because mail scanners open every link."""
    found = queries.find_live_link(token)
    if found is None:
        return _page("sign_in_stale.html", 410)
    is_here = found.browser_hash is None or found.browser_hash == fingerprint(session.get(BROWSER, ""))
    return _page("sign_in_link.html", token=token, email=found.email, is_here=is_here)


@bp.post("/sign-in/link/<token>")
@limiter.limit("30/minute", key_func=network, scope="network")
def use_link(token: str) -> ResponseReturnValue:
    """Use the link up and sign in; of simultaneous requests exactly one succeeds."""
    done = service.consume_link(token)
    if done is None:
        return _page("sign_in_stale.html", 410)
    return _enter(done, done.next_path)


@bp.post("/sign-out")
def sign_out() -> ResponseReturnValue:
    """End this browser's session."""
    if "_user_id" in session:
        service.close_session(session["_user_id"])
    session.clear()
    return redirect(url_for("accounts.sign_in"), 303)


def _enter(done: service.SignedIn, next_path: str) -> ResponseReturnValue:
    enter(done.user)
    answer = redirect(own_path(next_path) or "/", 303)
    answer.headers["Cache-Control"] = "no-store"
    remember_theme(answer, done.user)
    return answer


def _about_mail() -> dict[str, Any]:
    is_outbox = not settings().is_production and not settings().resend_api_key
    return {"email": session[EMAIL], "has_outbox": is_outbox}


def _page(template: str, status: int = 200, **values: object) -> Response:
    values.setdefault("errors", {})
    answer = make_response(render_template(f"accounts/{template}", **values), status)
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["X-Robots-Tag"] = "noindex"
    return answer
