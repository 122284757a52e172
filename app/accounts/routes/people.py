"""People: the administrator's page of who may come in and what they may do."""

from __future__ import annotations

from typing import Any

from flask import flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from app.accounts import queries, service
from app.accounts.routes.blueprint import bp
from app.accounts.routes.identity import administrator_required
from app.accounts.service.delivery import deliver
from app.adapters.mailer import compose
from app.db import db
from app.errors import Conflict, Invalid
from app.lib.ids import parse_id
from app.web import absolute_url, settings

PAGE = 50

_STANDINGS: dict[str, tuple[dict[str, bool], str]] = {
    "disable": ({"is_disabled": True}, "The account is closed and signed out everywhere."),
    "enable": ({"is_disabled": False}, "The account is open again."),
    "promote": ({"is_admin": True}, "Now an administrator."),
    "demote": ({"is_admin": False}, "No longer an administrator."),
}


@bp.get("/admin/people")
@administrator_required
def people() -> ResponseReturnValue:
    """List the people and the open invitations."""
    return _page()


@bp.post("/admin/people/invite")
@administrator_required
def invite() -> ResponseReturnValue:
    """Let an address in and write to it."""
    email = request.form.get("email", "")
    try:
        invitation = service.invite(email, current_user.id)
    except Invalid as error:
        return _page(422, email=email[:320], errors=error.fields)
    mail = compose(
        "invitation",
        to=invitation.email,
        link=absolute_url("accounts.sign_in", email=invitation.email),
        inviter=current_user.display_name,
    )
    db.session.commit()
    deliver(mail, idempotency_key=f"invitation/{invitation.id}")
    flash(f"{invitation.email} may come in now, and was written to.", "ok")
    return redirect(url_for("accounts.people"), 303)


@bp.post("/admin/invitations/<invitation_id>/withdraw")
@administrator_required
def withdraw_invitation(invitation_id: str) -> ResponseReturnValue:
    """Take an invitation back."""
    service.withdraw_invitation(parse_id(invitation_id))
    flash("The invitation is withdrawn.", "ok")
    return redirect(url_for("accounts.people"), 303)


@bp.post("/admin/people/<user_id>/<any(disable, enable, promote, demote):change>")
@administrator_required
def change_standing(user_id: str, change: str) -> ResponseReturnValue:
    """Close or open an account, make or unmake an administrator."""
    values, sentence = _STANDINGS[change]
    try:
        service.change_standing(parse_id(user_id), by=current_user.id, **values)
        flash(sentence, "ok")
    except Conflict as error:
        flash(error.message, "bad")
    return redirect(url_for("accounts.people"), 303)


def _page(status: int = 200, **values: object) -> ResponseReturnValue:
    search = request.args.get("q", "")[:100].replace("\x00", "")
    before = parse_id(request.args.get("before", ""))
    found = queries.list_people(search, before, PAGE + 1)
    here: dict[str, Any] = {"q": search} if search else {}
    next_url = url_for("accounts.people", before=found[PAGE - 1].id, **here) if len(found) > PAGE else None
    found = found[:PAGE]
    values.setdefault("errors", {})
    return make_response(
        render_template(
            "accounts/people.html",
            people=found,
            last_seen=queries.last_seen([person.id for person in found]),
            invitations=queries.list_invitations(),
            fixed_admins=settings().admin_emails,
            signup=settings().signup,
            q=search,
            next_url=next_url,
            first_url=url_for("accounts.people", **here) if before else None,
            **values,
        ),
        status,
    )
