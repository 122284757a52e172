"""JSON endpoints of the accounts room."""

from __future__ import annotations

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required

bp = Blueprint("accounts_api", __name__, url_prefix="/api")


@bp.get("/me")
@login_required  # type: ignore[untyped-decorator]
def show_me() -> ResponseReturnValue:
    """Return who the key or session stands for."""
    return jsonify(
        id=str(current_user.id), email=current_user.email, name=current_user.name, is_admin=current_user.is_admin
    )
