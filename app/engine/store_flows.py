"""SQL on the rows of flow keys, which are the locks of limits: made when they are needed, locked in their order."""

from collections.abc import Sequence

from app.engine.runtime import Connection

INSERT = "INSERT INTO flow (key) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING"
LOCK = "SELECT key FROM flow WHERE key = ANY(%s) ORDER BY key FOR UPDATE"


def lock(connection: Connection, keys: Sequence[str], how: str = "") -> None:
    """Lock flow keys in their order, until the transaction ends; a row that retention has deleted is made anew."""
    if keys and len(connection.execute(LOCK + how, [list(keys)]).fetchall()) < len(keys):
        connection.execute(INSERT, [list(keys)])
        connection.execute(LOCK + how, [list(keys)])
