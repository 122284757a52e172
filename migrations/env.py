"""What Alembic runs for every migration command: both families of tables, one transaction, bounded locks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from app.db import Base, db
from app.engine import schema as engine_schema

# One migration at a time, on however many machines it is started.
MIGRATION_LOCK = 7203914
# A migration that cannot get its lock gives up at once instead of queueing every other query behind it.
TIMEOUTS = ("SET LOCAL lock_timeout = '5s'", "SET LOCAL statement_timeout = '10min'")


def run() -> None:
    """Run the migrations on the app's database."""
    with db.engine.begin() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        for statement in TIMEOUTS:
            connection.execute(sa.text(statement))
        context.configure(
            connection=connection,
            target_metadata=[Base.metadata, engine_schema.metadata],
            compare_type=True,
            compare_server_default=True,
            transaction_per_migration=False,
        )
        context.run_migrations()


run()
