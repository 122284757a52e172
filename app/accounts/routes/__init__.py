"""Pages of the accounts room."""

from __future__ import annotations

from flask import Flask

from app.accounts.api import bp as api
from app.accounts.routes import account, models, people, sign_in, usage
from app.accounts.routes.blueprint import bp
from app.accounts.routes.identity import bind
from app.accounts.routes.outbox import bp as outbox

__all__ = ["account", "models", "people", "register", "sign_in", "usage"]


def register(app: Flask) -> None:
    """Register the pages of this room and how a request says who is asking."""
    bind()
    app.register_blueprint(bp)
    app.register_blueprint(api)
    if not app.settings.is_production and not app.settings.resend_api_key:  # type: ignore[attr-defined]
        app.register_blueprint(outbox)
