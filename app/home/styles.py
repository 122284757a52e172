"""The living style guide at /dev/styles: every shared fragment in every state, for people and for the browser tests."""

from __future__ import annotations

from datetime import timedelta

from flask import Blueprint, render_template

from app.lib.clock import now

bp = Blueprint("dev", __name__, url_prefix="/dev")

STATUSES = (
    "pending",
    "transcribing",
    "processing",
    "embedding",
    "running",
    "retrying",
    "waiting",
    "paused",
    "completed",
    "failed",
    "timed-out",
    "dead",
    "cancelled",
    "skipped",
)


@bp.get("/styles")
def styles() -> str:
    """Show the style guide (registered outside production only)."""
    return render_template("dev/styles.html", moment=now() - timedelta(minutes=5), statuses=STATUSES)
