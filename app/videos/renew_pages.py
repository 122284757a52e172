"""The banner after a real provider was set: what the sandbox has made, what it costs to make it again, how far that is.

Home and the library show it; a video's own page offers it for that video.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required

from app import engine, live
from app.accounts.service import OverBudget
from app.engine import RunView
from app.errors import Conflict, NotFound
from app.lib.clock import now
from app.lib.text import pluralise
from app.videos import renewing
from app.web import settings

SHOWN_FOR = timedelta(minutes=15)  # after its end
MOST_REASONS = 3


def add_to(bp: Blueprint) -> None:
    """Add this address to the room's blueprint, and the live view of a run that makes videos again."""
    bp.add_url_rule("/videos/renew", "renew", renew, methods=["POST"])
    live.register("run", "renewal", authorise=may_watch, render=fragment)


@login_required  # type: ignore[untyped-decorator]
def renew() -> ResponseReturnValue:
    """Make everything again that the sandbox made; asked twice it is done once."""
    try:
        found = renewing.request(current_user.id)
        parts = [f"{pluralise(len(found.transcribe), 'video')} to transcribe again"] if found.transcribe else []
        parts += [f"{pluralise(len(found.index), 'video')} to index again"] if found.index else []
        flash(f"Begun: {' and '.join(parts)}. What is there now stays until then.", "ok")
    except (Conflict, OverBudget) as error:
        flash(error.message, "warn")
    return redirect(url_for("videos.library"), 303)


def banner(owner_id: UUID) -> str:
    """Render what a person is told, nothing when there is nothing to tell."""
    run, found = renewing.last_run(owner_id), renewing.find(owner_id)
    is_going = run is not None and not run.is_final
    has_ended = run is not None and run.finished_at is not None and run.finished_at > now() - SHOWN_FOR
    return render_template(
        "videos/_renewal.html",
        found=found,
        providers=settings().providers,
        run=run if is_going or has_ended else None,
        is_going=is_going,
        renewal=fragment(run.id) if run and (is_going or has_ended) else "",
    )


def fragment(run_id: UUID) -> str:
    """Render how far a run is, or how it ended; for the banner and for the live view `renewal` of `run:<id>`.

    Raises:
        NotFound: there is no such run.
    """
    run = engine.get_run(run_id)
    if run is None or run.workflow != renewing.WORKFLOW:
        raise NotFound
    tone, sentence, reasons = result(run)
    progress = run.progress or {"message": "Waiting to start"}
    return render_template(
        "videos/_renewal_run.html", run=run, tone=tone, sentence=sentence, reasons=reasons, progress=progress
    )


def may_watch(user: Any, run_id: UUID) -> bool:
    """Tell whether a person may watch it: only their own, administrators included."""
    run = engine.get_run(run_id)
    return run is not None and run.workflow == renewing.WORKFLOW and run.owner_id == getattr(user, "id", None)


def result(run: RunView) -> tuple[str, str, list[str]]:
    """Return how a run has ended: its tone, a sentence and why some failed; an empty sentence while it has not."""
    if not run.is_final:
        return "info", "", []
    if run.status == "cancelled":
        return "info", "Transcribing again was cancelled. What was done until then stays.", []
    if run.status != "completed":
        why = str((run.error or {}).get("message") or "Something broke on our side.")
        return "bad", "Transcribing again could not be finished. Start it again; what is done is kept.", [why]
    ended = (run.output or {}).get("videos", [])
    count = Counter(str(each.get("outcome")) for each in ended)
    parts = [f"{count['done']:,} done"]
    parts += [f"{count['kept']:,} left as they are, since they were changed meanwhile"] if count["kept"] else []
    parts += [f"{count['failed']:,} failed"] if count["failed"] else []
    reasons = Counter(str(each.get("why")) for each in ended if each.get("outcome") == "failed" and each.get("why"))
    said = [f"{pluralise(number, 'video')}: {why}" for why, number in reasons.most_common(MOST_REASONS)]
    return "warn" if count["failed"] else "ok", f"Transcribed again: {', '.join(parts)}.", said
