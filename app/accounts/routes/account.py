"""The pages on which people look after their own account."""

from __future__ import annotations

from flask import flash, g, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user
from werkzeug.wrappers import Response

from app.accounts import queries, service, usage_report
from app.accounts.models import NOTICES, THEMES
from app.accounts.routes.blueprint import bp
from app.accounts.routes.identity import person_required, remember_theme
from app.errors import Invalid
from app.lib.ids import parse_id
from app.lib.user_agents import describe


@bp.get("/account")
@person_required
def account() -> ResponseReturnValue:
    """Show the person's name and looks."""
    return _page("profile.html", name=current_user.name, theme_choice=_theme_here(), themes=THEMES)


@bp.post("/account")
@person_required
def save_account() -> ResponseReturnValue:
    """Save the person's name and looks."""
    name, theme = request.form.get("name", ""), request.form.get("theme", "")
    try:
        service.change_profile(current_user, name=name, theme=theme)
    except Invalid as error:
        return _page("profile.html", 422, name=name, theme_choice=theme, themes=THEMES, errors=error.fields)
    flash("Saved.", "ok")
    answer = redirect(url_for("accounts.account"), 303)
    remember_theme(answer, current_user)
    return answer


@bp.get("/account/sessions")
@person_required
def list_sessions() -> ResponseReturnValue:
    """Show where the person is signed in."""
    rows = [
        (row, describe(row.user_agent), row.id == g.user_session_id) for row in queries.list_sessions(current_user.id)
    ]
    return _page("sessions.html", sessions=rows)


@bp.post("/account/sessions/<session_id>/revoke")
@person_required
def revoke_session(session_id: str) -> ResponseReturnValue:
    """Sign one browser out."""
    service.revoke_session(current_user.id, parse_id(session_id))
    flash("That browser is signed out.", "ok")
    return redirect(url_for("accounts.list_sessions"), 303)


@bp.post("/account/sessions/revoke-all")
@person_required
def revoke_all_sessions() -> ResponseReturnValue:
    """Sign the person out everywhere, here too."""
    service.close_all_sessions(current_user.id)
    return redirect(url_for("accounts.sign_in"), 303)


@bp.get("/account/keys")
@person_required
def list_keys() -> ResponseReturnValue:
    """Show the person's API keys."""
    return _page("keys.html", keys=queries.list_keys(current_user.id))


@bp.post("/account/keys")
@person_required
def create_key() -> ResponseReturnValue:
    """Make a key and show it, this once."""
    name = request.form.get("name", "")
    try:
        made = service.create_key(current_user.email, name)
    except Invalid as error:
        keys = queries.list_keys(current_user.id)
        return _page("keys.html", 422, keys=keys, name=name, errors=error.fields)
    # Not by redirect: the key would have to wait somewhere in clear.
    return _page("keys.html", 201, keys=queries.list_keys(current_user.id), made=made)


@bp.post("/account/keys/<key_id>/revoke")
@person_required
def revoke_key(key_id: str) -> ResponseReturnValue:
    """Make one key worthless."""
    service.revoke_key(current_user.id, parse_id(key_id))
    flash("The key no longer works.", "ok")
    return redirect(url_for("accounts.list_keys"), 303)


@bp.get("/account/usage")
@person_required
def usage() -> ResponseReturnValue:
    """Show what was used, what it cost, and what is left."""
    return _page("usage.html", report=usage_report.make(current_user.id, request.args.get("month", "")))


@bp.get("/account/notices")
@person_required
def notices() -> ResponseReturnValue:
    """Show which mails the person wants."""
    return _page("notices.html", wanted=queries.list_wanted_notices(current_user.id))


@bp.post("/account/notices")
@person_required
def save_notices() -> ResponseReturnValue:
    """Save which mails the person wants."""
    service.choose_notices(current_user.id, [kind for kind in NOTICES if request.form.get(kind)])
    flash("Saved.", "ok")
    return redirect(url_for("accounts.notices"), 303)


@bp.get("/notices/unsubscribe/<token>")
def unsubscribe(token: str) -> ResponseReturnValue:
    """Show one button; opening the link changes nothing, because mail scanners open every link."""
    person, kind = service.read_unsubscribe_token(token)
    return _private(_page("unsubscribe.html", token=token, email=person.email, kind=kind))


@bp.post("/notices/unsubscribe/<token>")
def confirm_unsubscribe(token: str) -> ResponseReturnValue:
    """End one kind of mail; mail programs post here by themselves (RFC 8058), so no form token is asked."""
    kind = service.unsubscribe(token)
    return _private(_page("unsubscribe.html", token=token, kind=kind, is_done=True))


# The signed token in the address is the permission; there is no cookie that a forged request could misuse.
confirm_unsubscribe.is_csrf_exempt = True  # type: ignore[attr-defined]


def _theme_here() -> str:
    # The cookie, not the row: the menu of every page may have changed it in this browser since.
    chosen = request.cookies.get("theme", "")
    return chosen if chosen in THEMES else "system"


def _private(answer: Response) -> Response:
    """Keep a page whose address is a permission out of caches and indexes."""
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["X-Robots-Tag"] = "noindex"
    return answer


def _page(template: str, status: int = 200, **values: object) -> Response:
    values.setdefault("errors", {})
    return make_response(render_template(f"accounts/{template}", **values), status)
