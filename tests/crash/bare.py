"""The engine without the product: a bare app with a database, and nothing else that the engine's ports need."""

from __future__ import annotations

from flask import Flask

from app import engine
from app.db import db
from app.engine import Ports, Verdict


def make_app(
    database_url: str, redis_url: str, lease_seconds: float, *, namespace: str = "bare", options: str = ""
) -> Flask:
    """Start the engine of this process on its own database and Redis; any error may be tried again.

    `options`: PostgreSQL's, for the connections of this process's sessions.
    """
    app = Flask("bare")
    app.config["SQLALCHEMY_DATABASE_URI"] = database_url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {
        "pool_size": 10,
        "pool_pre_ping": True,
        "pool_timeout": 10,
        "connect_args": {"options": options},
    }
    db.init_app(app)
    with app.app_context():
        engine.start(
            Ports(
                engine=db.engine,
                session=db.session,
                app_context=app.app_context,
                classify=lambda _error: Verdict(True, is_foreseen=False),
                publish=lambda _topics: None,
                redis_url=redis_url,
                namespace=namespace,
                lease_seconds=lease_seconds,
            )
        )
    return app
