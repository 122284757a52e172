"""Write a migration from the models, on a database of its own: `python -m migrations.new "add things"`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from app.embedded.postgres import Postgres
from app.embedded.redis import RedisServer


def main(message: str) -> None:
    """Bring an empty database to the newest migration, and write down what the models have more."""
    if not message.strip():
        sys.exit('Say what it does: make migration MESSAGE="add things"')
    with tempfile.TemporaryDirectory(prefix="tl-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)  # ours: the account that runs PostgreSQL must enter it
        postgres, redis = Postgres(folder / "postgres"), RedisServer(folder / "redis")
        try:
            postgres.start()
            postgres.make_database()
            redis.start()
            write(postgres.url(), redis.url(), message)
        finally:
            redis.stop()
            postgres.stop("immediate")


def write(database_url: str, redis_url: str, message: str) -> None:
    """Write the migration with the help of the database at `database_url`."""
    from app import create_app, schema
    from app.settings import Settings

    app = create_app(Settings(environment="test", database_url=database_url, redis_url=redis_url))
    with app.app_context():
        made = len(list((schema.MIGRATIONS / "versions").glob("*.py")))
        if made:
            schema.upgrade()
        schema.bind_alembic().revision(message=message, autogenerate=True, rev_id=f"{made + 1:04d}")


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]))
