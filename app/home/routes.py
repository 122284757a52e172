"""Pages of the home room."""

from __future__ import annotations

from flask import Blueprint, render_template
from flask_login import current_user

from app import live
from app.home import board, styles
from app.videos import renew_pages
from app.web import Throughline

bp = Blueprint("home", __name__)


def register(app: Throughline) -> None:
    """Register the pages and live topics of this room."""
    app.register_blueprint(bp)
    if not app.settings.is_production:
        app.register_blueprint(styles.bp)
    live.register("runs", "home", authorise=board.may_watch, render=board.fragment)


@bp.get("/")
def index() -> str:
    """Show home, or to nobody signed in what this is and how to come in."""
    if not current_user.is_authenticated:
        return render_template("home/landing.html")
    return render_template(
        "home/index.html",
        owner_id=current_user.id,
        board=board.fragment(current_user.id),
        renewal=renew_pages.banner(current_user.id),
    )
