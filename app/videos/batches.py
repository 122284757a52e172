"""How far a batch of videos to be indexed again is, as the library shows it: one fragment for page and socket."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from flask import render_template

from app import engine
from app.engine import RunView
from app.errors import NotFound
from app.lib.clock import now
from app.lib.text import pluralise

WORKFLOW = "reprocess-embeddings"
SHOWN_FOR = timedelta(minutes=15)  # after its end
MOST_REASONS = 3


@dataclass(frozen=True)
class Result:
    """How a batch has ended: in a sentence, and why some failed."""

    tone: str
    sentence: str
    reasons: list[str]


def list_shown(owner_id: UUID) -> list[RunView]:
    """Return the batches of a person that are under way or have ended a short while ago, newest first."""
    runs = engine.list_runs(owner_id=owner_id, workflow=WORKFLOW, limit=3)
    return [run for run in runs if not run.is_final or (run.finished_at and run.finished_at > now() - SHOWN_FOR)]


def fragment(run_id: UUID) -> str:
    """Render a batch, for the page and for the live view `batch` of `run:<id>`.

    Raises:
        NotFound: there is no such batch.
    """
    run = engine.get_run(run_id)
    if run is None or run.workflow != WORKFLOW:
        raise NotFound
    return render_template("videos/_batch.html", run=run, result=result(run), progress=_progress(run))


def may_watch(user: Any, run_id: UUID) -> bool:
    """Tell whether a person may watch a batch: only their own, administrators included."""
    run = engine.get_run(run_id)
    return run is not None and run.workflow == WORKFLOW and run.owner_id == getattr(user, "id", None)


def result(run: RunView) -> Result | None:
    """Return how a batch has ended, None while it has not."""
    if not run.is_final:
        return None
    if run.status == "cancelled":
        return Result("info", "Indexing was cancelled. What was done until then stays.", [])
    if run.status != "completed":
        said = str((run.error or {}).get("message") or "Something broke on our side.")
        return Result("bad", "Indexing could not be finished. Start it again; what is done is kept.", [said])
    outcomes = Counter(str(each.get("outcome")) for each in (run.output or {}).get("videos", []))
    done, kept = outcomes.pop("done", 0), outcomes.pop("kept", 0)
    parts = [f"{done:,} done"] + ([f"{kept:,} kept, since they were up to date"] if kept else [])
    failed = sum(outcomes.values())
    parts += [f"{failed:,} failed"] if failed else []
    reasons = [f"{pluralise(count, 'video')}: {why}" for why, count in outcomes.most_common(MOST_REASONS)]
    return Result("warn" if failed else "ok", f"Indexed again: {', '.join(parts)}.", reasons)


def _progress(run: RunView) -> dict[str, Any]:
    return run.progress or {"message": "Waiting to start"}
