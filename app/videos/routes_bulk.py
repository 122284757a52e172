"""What the library page does to many videos at once; without JavaScript it is one form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, flash, jsonify, redirect, render_template, request, stream_with_context, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required

from app import live
from app.errors import Invalid, NotFound
from app.lib.clock import now
from app.videos import archive, batches, forms_bulk, queries_library, service_bulk
from app.videos.forms_bulk import Bulk
from app.videos.models import FINAL, Video
from app.videos.service_bulk import Outcome

ASKED_FIRST = ("transcribe", "index", "delete")
DONE = {
    "retry": "tried again",
    "cancel": "cancelled",
    "transcribe": "being transcribed again",
    "index": "being indexed again",
    "add-tag": "tagged",
    "remove-tag": "no longer tagged",
    "delete": "deleted",
}


def add_to(bp: Blueprint) -> None:
    """Add these addresses to the room's blueprint, and the live view of a batch."""
    bp.add_url_rule("/videos/bulk", "bulk", bulk, methods=["POST"])
    bp.add_url_rule("/api/videos/bulk", "api_bulk", api_bulk, methods=["POST"])
    live.register("run", "batch", authorise=batches.may_watch, render=batches.fragment)


@login_required  # type: ignore[untyped-decorator]
def bulk() -> ResponseReturnValue:
    """Do it and go back to the library with what became of it; what costs or removes is asked about first."""
    try:
        wish = forms_bulk.parse_page(request.form)
        videos = _chosen(wish)
    except Invalid as error:
        return _refuse(error)
    if wish.action == forms_bulk.EXPORT:
        return _export(wish, videos)
    if wish.action in ASKED_FIRST and not wish.is_confirmed:
        return _ask(wish, videos)
    outcome = _do(wish, videos)
    named = wish.wanted.named(cursor="")
    if wish.action == "delete":
        named["deleted"] = str(outcome.done[0])
    else:
        flash(outcome.sentence(_done(wish)), "ok" if outcome.done else "warn")
    return redirect(url_for("videos.library", **named), 303)  # type: ignore[arg-type]


@login_required  # type: ignore[untyped-decorator]
def api_bulk() -> ResponseReturnValue:
    """Do `{action, video_ids, tag?, force?}` to at most 1,000 of one's own videos.

    200: `{action, done: [ids], refused: [{reason, video_ids}], missing: [ids]}`. 404: none of them is there. 422.
    """
    wish = forms_bulk.parse_json(request.get_json(silent=True))
    videos = queries_library.list_chosen(current_user.id, wish.video_ids)
    if not videos:
        raise NotFound("None of these videos is yours, or they are gone.")
    outcome = _do(wish, videos)
    there = {video.id for video in videos}
    return jsonify(
        action=wish.action,
        done=[str(each) for each in outcome.done],
        refused=[{"reason": why, "video_ids": [str(each) for each in ids]} for why, ids in outcome.refused.items()],
        missing=[str(each) for each in wish.video_ids if each not in there],
        message=outcome.sentence(_done(wish)),
    )


def _chosen(wish: Bulk) -> Sequence[Video]:
    """Return the person's videos that are meant.

    Raises:
        Invalid: there are none, or too many fit.
    """
    ids = wish.video_ids
    if wish.is_all:
        ids = queries_library.list_fitting(current_user.id, wish.wanted, service_bulk.MOST_VIDEOS + 1)
        if len(ids) > service_bulk.MOST_VIDEOS:
            raise Invalid(f"More than {service_bulk.MOST_VIDEOS:,} videos fit. Narrow the filter, and go on in parts.")
    videos = queries_library.list_chosen(current_user.id, ids)
    if not videos:
        raise Invalid("None of these videos is there any more. Reload the library and select again.")
    return videos


def _do(wish: Bulk, videos: Sequence[Video]) -> Outcome:
    if wish.action == "index":
        return service_bulk.index(videos, current_user.id, is_forced=wish.is_forced)
    if wish.action in forms_bulk.TAGGING:
        tag = service_bulk.add_tag if wish.action == "add-tag" else service_bulk.remove_tag
        return tag(videos, wish.tag)
    verbs = {"retry": service_bulk.retry, "cancel": service_bulk.cancel, "delete": service_bulk.delete}
    return verbs.get(wish.action, service_bulk.transcribe)(videos)


def _done(wish: Bulk) -> str:
    return f"{DONE[wish.action]} “{wish.tag}”" if wish.tag else DONE[wish.action]


def _ask(wish: Bulk, videos: Sequence[Video]) -> str:
    """Ask before what costs or removes: a page, or for the script the question alone."""
    values: dict[str, Any] = {
        "wish": wish,
        "videos": videos,
        "busy": sum(video.status not in FINAL for video in videos),
        "without_transcript": sum(video.transcript_id is None for video in videos),
        "transcribe_microusd": service_bulk.transcription_price(videos),
        "index_microusd": service_bulk.indexing_price(videos),
        "back_url": url_for("videos.library", **wish.wanted.named(cursor="")),  # type: ignore[arg-type]
    }
    is_script = bool(request.headers.get("HX-Request"))
    return render_template("videos/_bulk_question.html" if is_script else "videos/bulk.html", **values)


def _export(wish: Bulk, videos: Sequence[Video]) -> ResponseReturnValue:
    ids = [video.id for video in videos if video.transcript_id]
    if not ids:
        return _refuse(Invalid("None of these has a transcript yet, so there is nothing to export."))
    left_out = [video.id for video in videos if not video.transcript_id]
    answer = Response(_parts([*ids, *left_out], wish.formats), content_type="application/zip")
    name = f"transcripts-{now():%Y-%m-%d}.zip"
    answer.headers.set("Content-Disposition", "attachment", filename=name)
    return answer


def _parts(ids: Sequence[UUID], formats: Sequence[str]) -> Iterator[bytes]:
    parts: Iterator[bytes] = stream_with_context(archive.stream(ids, formats))
    return parts


def _refuse(error: Invalid) -> ResponseReturnValue:
    if request.headers.get("HX-Request"):
        raise error
    flash(error.message, "warn")
    return redirect(url_for("videos.library"), 303)
