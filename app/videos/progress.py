"""How far a video is, in the one shape of progress, computed from the engine's runs about it."""

from __future__ import annotations

from typing import Any

from app.engine import RunView
from app.videos import video_runs
from app.videos.models import FINAL, Video

SHARES = {"transcribe-video": (0.0, 80.0), "generate-embeddings": (80.0, 100.0)}  # of the whole, in percent
MESSAGES = {
    "pending": "Waiting to start",
    "transcribing": "Transcribing",
    "processing": "Cutting into chunks",
    "embedding": "Making it searchable",
    "completed": "Ready",
    "failed": "Failed",
    "cancelled": "Cancelled",
}
PAUSED = "Paused; it goes on when its run is resumed"


def progress(video: Video) -> dict[str, Any]:
    """Return how far `video` is.

    Returns:
        `{current_step, completed_steps[], total_steps, percent, eta_seconds, message, errors[]}`. `percent` (0 to
        100) is None while nothing can be said; `errors` are `{step, message}`, the tries that failed so far, and at
        the end the sentence for the person. `eta_seconds` is about the workflow running now.
    """
    found: dict[str, Any] = {
        "current_step": None,
        "completed_steps": [],
        "total_steps": None,
        "percent": 100.0 if video.status == "completed" else None,
        "eta_seconds": None,
        "message": MESSAGES[video.status],
        "errors": [],
    }
    if video.status == "completed":
        return found
    if video.status in ("failed", "cancelled"):
        if video.error_message:
            found["errors"] = [{"step": None, "message": video.error_message}]
        return found
    _add_runs(found, video_runs.list_pipeline_runs(video))
    return found


def is_final(video: Video) -> bool:
    """Tell whether nothing more happens to the video by itself."""
    return video.status in FINAL


def _add_runs(found: dict[str, Any], runs: list[RunView]) -> None:
    ours = [run for run in runs if run.workflow in SHARES]
    if not ours:
        return
    newest = ours[0]
    low, high = SHARES[newest.workflow]
    if newest.workflow != "transcribe-video":  # the transcription came first; older tries of either do not count
        found["completed_steps"] += _completed(next((run for run in ours if run.workflow == "transcribe-video"), None))
    found["completed_steps"] += _completed(newest)
    known = newest.progress or {}
    percent = known.get("percent")
    found |= {
        "current_step": known.get("current_step"),
        "total_steps": known.get("total_steps"),
        "percent": round(low + (high - low) * (percent or 0.0) / 100, 1) if percent is not None or low else None,
        "eta_seconds": known.get("eta_seconds"),
        "message": known.get("message") or found["message"],
        "errors": known.get("errors", []),
    }
    if newest.status == "queued" and newest.held_by:
        is_ending = any(not run.is_final for run in ours[1:])  # a cancelled one, whose step in hand goes on
        found["message"] = "Waiting for a step in hand to end" if is_ending else "Waiting for your other videos"
    if newest.status == "paused":
        found |= {"message": PAUSED, "eta_seconds": None}


def _completed(run: RunView | None) -> list[str]:
    done: list[str] = ((run and run.progress) or {}).get("completed_steps", [])
    return done
