"""The runs about a video, by what they do to it."""

from __future__ import annotations

from app import engine
from app.engine import RunView
from app.videos.events import PIPELINE
from app.videos.models import Video

REINDEX = "reindex-transcript"  # lets search follow an edit; an afternoon of corrections makes hundreds of its runs
RENDITION = "make-rendition"


def list_pipeline_runs(video: Video, limit: int = 20) -> list[RunView]:
    """Return the runs that give a video its statuses, newest first."""
    found = [run for workflow in PIPELINE for run in _list_runs(video, workflow, limit)]
    return sorted(found, key=lambda run: run.id, reverse=True)


def find_reindexing(video: Video) -> RunView | None:
    """Return the newest run by which search follows an edit."""
    return next(iter(_list_runs(video, REINDEX, 1)), None)


def find_rendition(video: Video) -> RunView | None:
    """Return the newest run that makes, or has made, the copy for browsers."""
    return next(iter(_list_runs(video, RENDITION, 1)), None)


def _list_runs(video: Video, workflow: str, limit: int) -> list[RunView]:
    return engine.list_runs(owner_id=video.owner_id, subject=f"video:{video.id}", workflow=workflow, limit=limit)
