"""Every event has a listener, and every event that a workflow listens to is sent somewhere."""

from __future__ import annotations

import ast
from pathlib import Path

from app import engine
from app.videos import events

ROOT = Path(__file__).resolve().parents[2]
NAMES = {name: value for name, value in vars(events).items() if name.isupper() and isinstance(value, str)}


def listened() -> set[str]:
    return {name for workflow in engine.list_workflows() for name in workflow.on if name.startswith("video/")}


def sent() -> set[str]:
    """Find the first arguments of every `send` and the second ones of every `send_event` in the product's code."""
    found = set()
    for path in [*ROOT.glob("app/**/*.py"), *ROOT.glob("jobs/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name not in ("send", "send_event"):
                continue
            for argument in node.args[:2]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    found.add(argument.value)
                if isinstance(argument, ast.Attribute) and argument.attr in NAMES:
                    found.add(NAMES[argument.attr])
    return found


def test_every_event_of_the_room_has_a_listener(app):
    assert set(NAMES.values()) == listened()


def test_every_event_that_is_listened_to_is_sent(app):
    assert listened() <= sent()


def test_both_pipeline_workflows_end_their_video_when_they_fail(app):
    hooks = {workflow.name: workflow.hook for workflow in engine.list_workflows()}
    assert hooks["transcribe-video"] == "transcribe-video-failed"
    assert hooks["generate-embeddings"] == "generate-embeddings-failed"
    assert "reprocess-embeddings" in hooks
    assert "send-video-notice" in hooks
