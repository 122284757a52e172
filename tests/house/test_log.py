"""The log: one shape for our lines and for those of the libraries."""

from __future__ import annotations

import io
import json
import logging

import structlog

from app import log


def test_in_json_the_lines_of_libraries_have_the_shape_of_ours(settings, capsys, request):
    request.addfinalizer(lambda: log.configure(settings))
    structlog.contextvars.clear_contextvars()  # what a request before has bound
    log.configure(settings.but(log_format="json", log_level="info"))
    log.get("ours").info("step.failed", run_id="7", api_key="tl_secret")
    try:
        int("planted")
    except ValueError:
        logging.getLogger("some.library").exception("It %s", "broke")
    ours, theirs = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (ours["event"], ours["level"], ours["run_id"], ours["api_key"]) == ("step.failed", "info", "7", "[hidden]")
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("It broke", "error", "some.library")
    assert theirs["exception"].endswith("'planted'")
    assert set(ours) & set(theirs) == {"event", "level", "timestamp"}


def test_the_log_goes_on_when_the_stream_that_it_began_with_is_closed(settings, monkeypatch, request):
    """A test that captures its output leaves a closed stream behind."""
    request.addfinalizer(lambda: log.configure(settings))
    first, second = io.StringIO(), io.StringIO()
    monkeypatch.setattr("sys.stderr", first)
    log.configure(settings)
    first.close()
    monkeypatch.setattr("sys.stderr", second)
    log.get("test").error("still.here")
    logging.getLogger("library").error("here, too")
    assert "still.here" in second.getvalue()
    assert "here, too" in second.getvalue()
