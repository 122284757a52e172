"""Fixtures that every test may use: a real database, a real Redis, the app, three people."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from app import create_app, engine
from app.db import db
from app.engine.testing import clock, runtime
from app.extensions import redis_client
from app.settings import Settings
from app.web import Throughline
from tests import schema
from tests.chromium import chromium  # noqa: F401  (a fixture)
from tests.factories import make_user, sign_in
from tests.object_store import bucket, object_store  # noqa: F401  (fixtures)
from tests.services import Services, database_url, redis_url, run_sql

_services: Services | None = None


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return  # a test process of xdist: the controller has started the services
    global _services  # noqa: PLW0603
    _services = Services()
    _services.start()
    run_sql("CREATE DATABASE template_throughline")
    schema.migrate(database_url("template_throughline"))


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "object_store" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("object-store"))  # one server is enough, and two may want one port


def pytest_unconfigure(config: pytest.Config) -> None:
    if _services is not None:
        _services.stop()


class Browser(FlaskClient):
    """A test client whose every request has an app context of its own, as in production."""

    def open(self, *args, **kwargs):
        db.session.commit()
        with self.application.app_context():
            answer = super().open(*args, **kwargs)
        for _, value in answer.headers:
            value.encode("latin-1")  # the test client takes headers that no server could send
        db.session.expire_all()
        return answer


def process_number() -> int:
    """Return this test process's number (0 without xdist)."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of this test process: its own database, Redis database and data folder."""
    name = f"test_{process_number()}"
    run_sql(
        f"DROP DATABASE IF EXISTS {name} WITH (FORCE)",
        f"CREATE DATABASE {name} TEMPLATE template_throughline",
    )
    return Settings(
        environment="test",
        secret_key="test-secret-key-of-thirty-two-characters",
        data_dir=tmp_path_factory.mktemp("data"),
        database_url=database_url(name),
        redis_url=redis_url(process_number()),
        redis_namespace=f"test{process_number()}",
        log_level="error",
        rate_limits_enabled=False,
        admin_emails=("root@example.org",),
    )


@pytest.fixture(scope="session")
def _app(settings: Settings) -> Iterator[Throughline]:
    app = create_app(settings)
    app.testing = True
    app.test_client_class = Browser
    app.extensions["tests.ports"] = runtime().ports
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def app(_app: Throughline, settings: Settings) -> Iterator[Throughline]:
    """The application on an empty database and an empty Redis, with an app context open."""
    if runtime().ports is not _app.extensions["tests.ports"]:
        engine.start(_app.extensions["tests.ports"])  # another test made an app, and the last one made wins
    with _app.app_context():
        schema.empty(db.engine)
        with redis_client(settings) as connection:
            connection.flushdb()
        yield _app
        db.session.rollback()
        clock.reset()
        db.session.remove()


@pytest.fixture
def client(app: Throughline) -> FlaskClient:
    """A browser of nobody in particular."""
    return app.test_client()


@pytest.fixture
def samples() -> Path:
    """The folder with the sample talks."""
    return Path(__file__).resolve().parent.parent / "samples"


@pytest.fixture
def execute(app: Throughline):
    """Run one SQL statement and commit it."""

    def run(statement: str, **values: object) -> sa.CursorResult:
        with db.engine.begin() as connection:
            return connection.execute(sa.text(statement), values)

    return run


@pytest.fixture
def alice(app: Throughline) -> FlaskClient:
    """Alice's browser: she owns things. `alice.user` is her row."""
    return _browser(app, "alice@example.org")


@pytest.fixture
def charlie(app: Throughline) -> FlaskClient:
    """Charlie's browser: a stranger who must see nothing."""
    return _browser(app, "charlie@example.org")


@pytest.fixture
def root(app: Throughline) -> FlaskClient:
    """Root's browser: an administrator."""
    return _browser(app, "root@example.org", is_admin=True)


def _browser(app: Throughline, email: str, *, is_admin: bool = False) -> FlaskClient:
    browser = app.test_client()
    browser.user = make_user(email, is_admin=is_admin)
    return sign_in(browser, browser.user)
