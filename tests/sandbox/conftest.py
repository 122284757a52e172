"""A sandbox on a free port of this machine, and OpenAI's own client for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from werkzeug.serving import make_server

from app.sandbox import create_sandbox
from tests.sandbox.helpers import Sandbox, piece_of


@pytest.fixture(scope="session")
def _sandbox() -> Iterator[Sandbox]:
    app = create_sandbox(slow_seconds=0.5)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Sandbox(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    thread.join()
    server.server_close()
    app.extensions["sandbox"].recognition.close()


@pytest.fixture
def sandbox(_sandbox: Sandbox) -> Sandbox:
    """The sandbox with an empty list of calls."""
    _sandbox.reset()
    return _sandbox


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[openai.OpenAI]:
    """OpenAI's client, unchanged, without retries of its own."""
    with openai.OpenAI(api_key="any", base_url=f"{sandbox.url}/v1", max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def piece(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first two sentences of the talk about tides, as the pipeline cuts them: mp3, 16 kHz, mono."""
    path = tmp_path_factory.mktemp("pieces") / "piece.mp3"
    piece_of("tides", 0.0, 9.6, path)
    return path
