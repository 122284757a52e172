"""Usage beyond one's own page: CSV, the administrator's page of the whole instance, and the limits of people."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Response, flash, make_response, redirect, render_template, request, stream_with_context, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from app.accounts import forms, queries, service, usage_csv, usage_instance, usage_report
from app.accounts.models import User
from app.accounts.routes.blueprint import bp
from app.accounts.routes.identity import administrator_required, person_required
from app.errors import Invalid, NotFound
from app.lib.ids import parse_id
from app.web import settings


@bp.get("/account/usage.csv")
@person_required
def usage_csv_file() -> ResponseReturnValue:
    """Return the person's entries as CSV: of `?month=2026-11`, or all of them."""
    month = request.args.get("month", "")
    return _csv(usage_csv.entries(current_user.id, month), f"usage-{_named(month)}")


@bp.get("/admin/usage")
@administrator_required
def instance_usage() -> ResponseReturnValue:
    """Show what everybody used in a month, what it cost, and who may use how much."""
    search = request.args.get("q", "")[:100].replace("\x00", "")
    report = usage_instance.make(request.args.get("month", ""), search)
    return render_template("accounts/instance_usage.html", report=report, q=search)


@bp.get("/admin/usage.csv")
@administrator_required
def instance_usage_csv() -> ResponseReturnValue:
    """Return the sums of a month by person, kind and model as CSV."""
    month = usage_report.start_of(request.args.get("month", "")).strftime("%Y-%m")
    return _csv(usage_csv.sums(month), f"usage-of-everybody-{month}")


@bp.get("/admin/people/<user_id>/limits")
@administrator_required
def limits(user_id: str) -> ResponseReturnValue:
    """Show what one person may spend and store."""
    person = _person(user_id)
    return _limits_page(person, forms.write_limits(person.budget_microusd, person.storage_quota_bytes))


@bp.post("/admin/people/<user_id>/limits")
@administrator_required
def change_limits(user_id: str) -> ResponseReturnValue:
    """Set what one person may spend and store; an empty field: as the settings have it."""
    person = _person(user_id)
    try:
        budget, quota = forms.read_limits(request.form)
    except Invalid as error:
        typed = {name: request.form.get(name, "")[:40] for name in ("budget", "storage")}
        return _limits_page(person, typed, 422, errors=error.fields)
    service.change_limits(person.id, by=current_user.id, budget_microusd=budget, storage_quota_bytes=quota)
    flash(f"Saved what {person.display_name} may use.", "ok")
    return redirect(url_for("accounts.limits", user_id=person.id), 303)


def _person(user_id: str) -> User:
    identity = parse_id(user_id)
    person = queries.find_user(identity) if identity else None
    if person is None:
        raise NotFound
    return person


def _limits_page(person: User, typed: dict[str, str], status: int = 200, **values: object) -> ResponseReturnValue:
    values.setdefault("errors", {})
    rules = settings()
    page = render_template(
        "accounts/limits.html",
        person=person,
        typed=typed,
        report=usage_report.make(person.id),
        usual_microusd=rules.budget_person_microusd,
        usual_bytes=rules.storage_quota_bytes,
        **values,
    )
    return make_response(page, status)


def _named(month: str) -> str:
    return usage_report.start_of(month).strftime("%Y-%m") if month else "all"


def _csv(rows: Iterator[str], name: str) -> Response:
    answer = Response(stream_with_context(rows), content_type="text/csv; charset=utf-8")
    answer.headers.set("Content-Disposition", "attachment", filename=f"{name}.csv")
    return answer
