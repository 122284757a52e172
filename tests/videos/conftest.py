"""Fixtures of the pipeline's tests: fake models and mails, and what became of a video."""

from __future__ import annotations

import pytest

from app.adapters import llm
from app.adapters.llm_fakes import FakeEmbedder, FakeTranscriber
from app.adapters.mailer import FakeMailer
from app.videos import statuses
from tests.sandbox.conftest import _sandbox, sandbox  # noqa: F401  (fixtures)
from tests.videos.remembered_media import RememberedMedia
from tests.videos.talks import heard


@pytest.fixture(scope="session")
def _remembered(_app, tmp_path_factory):
    return RememberedMedia(_app.extensions["throughline.media"], tmp_path_factory.mktemp("pieces"))


@pytest.fixture
def models(app, _remembered, monkeypatch):
    monkeypatch.setitem(app.extensions, "throughline.media", _remembered)
    made = FakeTranscriber(otherwise=heard("the moon pulls on everything on earth", seconds=70)), FakeEmbedder()
    llm.install(app, transcriber=made[0], embedder=made[1])
    yield made
    llm.install(app)


@pytest.fixture
def mails(app):
    before = app.extensions["throughline.mailer"]
    app.extensions["throughline.mailer"] = FakeMailer()
    yield app.extensions["throughline.mailer"]
    app.extensions["throughline.mailer"] = before


@pytest.fixture
def history(monkeypatch):
    """Every status that a video is given, in order."""
    given = []
    before = statuses.try_move

    def note(video_id, status, **values):
        given.append(status)
        return before(video_id, status, **values)

    monkeypatch.setattr(statuses, "try_move", note)
    return given
