"""The database's schema: bring it up to date, and tell whether it is."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import sqlalchemy as sa
from flask import current_app

from app.db import db
from app.lib import revisions

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


def newest() -> str:
    """Return the revision that this code needs."""
    return revisions.newest(MIGRATIONS / "versions")


def current() -> str:
    """Return the revision of the database, empty when it has none yet."""
    with db.engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return ""
        return connection.scalar(sa.text("SELECT version_num FROM alembic_version")) or ""


def bind_alembic() -> ModuleType:
    """Return Flask-Migrate, bound to the current app."""
    import flask_migrate  # with Alembic behind it this takes a second, and only migrations need it

    flask_migrate.Migrate(current_app, db, directory=str(MIGRATIONS))
    found: ModuleType = flask_migrate
    return found


def upgrade() -> str:
    """Bring the database up to date; return a sentence about what was done, empty when nothing was.

    Any number of processes may do so at once: the migrations take a lock, and all but the first find them done.
    """
    before, wanted = current(), newest()
    if before == wanted:
        return ""
    bind_alembic().upgrade()
    return f"The database was brought from {before or 'nothing'} to {wanted}."
