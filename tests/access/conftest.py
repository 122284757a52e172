"""One world for all tests of this folder: making it takes seconds, putting it back milliseconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.db import db
from app.engine.testing import clock
from app.extensions import redis_client
from app.settings import Settings
from app.web import Throughline
from tests import schema
from tests.access import world as worlds
from tests.access.world import World


@pytest.fixture(scope="package")
def world(_app: Throughline, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Alice's things, and everybody who asks for them."""
    with _app.app_context():
        schema.empty(db.engine)
        with redis_client(settings) as connection:
            connection.flushdb()
        made = worlds.make(_app, tmp_path_factory.mktemp("world"))
        yield made
        made.close()
        db.session.rollback()
        clock.reset()
        db.session.remove()
