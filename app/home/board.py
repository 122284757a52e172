"""What home shows of one person: running now, what needs them, recent videos, usage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flask import render_template

from app import engine
from app.accounts import queries as accounts
from app.accounts import usage_report
from app.errors import NotFound
from app.videos import events
from app.videos import queries_home as videos

ACTIVE = ("queued", "running", "waiting", "paused", "debounced")
BROKEN = ("failed", "dead")
LOOK_BACK = 100  # runs: what is older than these and still active is on the runs page


@dataclass(frozen=True)
class Running:
    """One line of "running now": a video at work, or a run that is about no video."""

    id: UUID
    title: str
    status: str
    progress: dict[str, Any] | None
    video: Any | None
    run: Any | None


@dataclass(frozen=True)
class Board:
    """Everything that home shows of one person."""

    owner_id: UUID
    running: Sequence[Running]
    failed_videos: Sequence[Any]
    failed_runs: Sequence[Any]
    recent: Sequence[Any]
    usage: usage_report.Report

    @property
    def is_new(self) -> bool:
        """Tell whether there is nothing of this person yet."""
        return not (self.running or self.failed_videos or self.failed_runs or self.recent)


def make(owner_id: UUID) -> Board:
    """Collect the board of one person: two reads of runs, four of videos and usage, whatever they own."""
    # What follows the end of another run (tidying up) is nothing that a person asked for.
    runs = [run for run in engine.list_runs(owner_id=owner_id, limit=LOOK_BACK) if not _is_housework(run)]
    return Board(
        owner_id=owner_id,
        running=_running(owner_id, runs),
        failed_videos=videos.list_failed(owner_id),
        failed_runs=[run for run in runs if run.status in BROKEN and not _is_about_video(run)][:5],
        recent=videos.list_recent(owner_id),
        usage=usage_report.make(owner_id),
    )


def fragment(owner_id: UUID) -> str:
    """Render the board, for the page and for the live view `home` of `runs:<owner_id>`.

    Raises:
        NotFound: no such person.
    """
    if accounts.find_user(owner_id) is None:
        raise NotFound
    return render_template("home/_board.html", board=make(owner_id))


def may_watch(user: Any, owner_id: UUID) -> bool:
    """Tell whether a person may watch a board: only their own, administrators included."""
    return bool(getattr(user, "id", None) == owner_id)


def _running(owner_id: UUID, runs: Sequence[Any]) -> list[Running]:
    active = [run for run in runs if run.status in ACTIVE]
    newest = {run.subject: run for run in reversed(active)}
    lines = []
    for video in videos.list_unfinished(owner_id):
        run = newest.get(f"video:{video.id}")
        status = "paused" if run and run.status == "paused" else video.status
        lines.append(Running(video.id, video.title, status, run.progress if run else None, video, run))
    for run in active:
        # A deleted video waits for its owner to change their mind, not for a worker; the library offers the undo.
        if not _is_about_video(run) and run.event_name != events.DELETED:
            title = run.workflow.replace("-", " ").capitalize()
            lines.append(Running(run.id, title, run.status, run.progress, None, run))
    return lines


def _is_housework(run: Any) -> bool:
    return bool(run.event_name.startswith("run/"))


def _is_about_video(run: Any) -> bool:
    return bool(run.subject and run.subject.startswith("video:"))
