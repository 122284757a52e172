"""Make and empty the schema of test databases."""

from __future__ import annotations

import sqlalchemy as sa

from app import create_app
from app.db import Base, db
from app.engine import create_schema
from app.settings import Settings


def migrate(url: str) -> None:
    """Bring the database at `url` up to date, as an installation does."""
    from app import schema

    app = create_app(Settings(environment="test", database_url=url, redis_url="redis://127.0.0.1:1"))
    with app.app_context():
        schema.upgrade()
        db.engine.dispose()


def create(url: str) -> None:
    """Create every table in the database at `url` from the models (all are loaded by create_app)."""
    create_app(Settings(environment="test", database_url=url, redis_url="redis://127.0.0.1:1"))
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE EXTENSION IF NOT EXISTS vector"))
        Base.metadata.create_all(connection)
        create_schema(connection)
    engine.dispose()


def empty(engine: sa.Engine) -> None:
    """Remove every row of every table."""
    with engine.begin() as connection:
        names = connection.scalars(
            sa.text(
                "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
            )
        ).all()
        if names:
            connection.execute(sa.text(f"TRUNCATE {', '.join(names)} RESTART IDENTITY CASCADE"))
