"""What home shows of one person: running now, what needs them, recent videos, usage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flask import render_template
from markupsafe import Markup

from app import engine
from app.accounts import queries as accounts
from app.accounts import usage_report
from app.engine import Why
from app.errors import NotFound
from app.lib import progress
from app.ui import until_element
from app.videos import events
from app.videos import queries_home as videos

ACTIVE = ("queued", "running", "waiting", "paused", "debounced")
BROKEN = ("failed", "dead")
# A deleted video waits for its owner to change their mind, not for a worker (the library offers the undo), and the mail
# about what ended waits for what has not.
_AFTERWARDS = (events.DELETED, events.READY, events.FAILED)
MOST_LINES = 20  # under "running now": the rest is on the runs page too
LOOK_BACK = 100  # runs: what is older than these and still active is on the runs page


@dataclass(frozen=True)
class Running:
    """One line of "running now": a video at work, or a run that is about no video."""

    id: UUID
    title: str
    status: str
    video: Any | None
    run: Any | None

    @property
    def is_moving(self) -> bool:
        """Tell whether something is being done to it just now."""
        return bool(self.run and self.run.status == "running")

    def progress(self) -> dict[str, Any] | None:
        """Return how far it is, with what it waits for where nothing moves; None when nothing is known."""
        found = progress.shown(self.run.progress if self.run else None, is_working=self.is_moving)
        why = engine.why_not_started(self.run.id) if self.run and not self.is_moving else None
        return {**(found or {}), "message": _in_words(why)} if why else found


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
    """Collect the board of one person: five reads, whatever they own, and some for each of the few lines that wait."""
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
    newest = {run.subject: run for run in reversed(active) if run.workflow in events.PIPELINE}
    lines = []
    for video in videos.list_unfinished(owner_id):
        run = newest.get(f"video:{video.id}")
        status = "paused" if run and run.status == "paused" else video.status
        lines.append(Running(video.id, video.title, status, video, run))
    for run in active:
        if not _is_about_video(run) and run.event_name not in _AFTERWARDS:
            title = run.workflow.replace("-", " ").capitalize()
            lines.append(Running(run.id, title, run.status, None, run))
    return lines[:MOST_LINES]


def _in_words(why: Why) -> Markup:
    """Return what keeps a run from going on, in one line."""
    said = why.sentence.rstrip(".")
    if why.next_at is None:
        return Markup("{}.").format(said)
    until = "at the latest" if why.reason == "waiting" else "goes on"
    return Markup("{} · {} {}").format(said, until, until_element(why.next_at))


def _is_housework(run: Any) -> bool:
    return bool(run.event_name.startswith("run/"))


def _is_about_video(run: Any) -> bool:
    return bool(run.subject and run.subject.startswith("video:"))
