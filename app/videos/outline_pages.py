"""What a model wrote about a video, on its page and for programs: title, summary, chapters."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint, Response, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required

from app import live
from app.adapters import llm, llm_models
from app.errors import Conflict, NotFound
from app.videos import endings, exports, outlining, pages, queries, service
from app.videos import queries_transcript as transcripts
from app.videos.models import Outline, Video
from app.videos.routes_library import do_and_say

BROKEN = ("failed", "dead", "timed-out")


def add_to(bp: Blueprint) -> None:
    """Add these pages and endpoints to the room's blueprint, and the live view of an outline."""
    bp.add_url_rule("/videos/<uuid:video_id>/describe", "describe", describe, methods=["POST"])
    bp.add_url_rule("/videos/<uuid:video_id>/use-title", "use_title", use_title, methods=["POST"])
    bp.add_url_rule("/api/videos/<uuid:video_id>/outline", "api_outline", read_outline)
    bp.add_url_rule("/api/videos/<uuid:video_id>/describe", "api_describe", ask_for_outline, methods=["POST"])
    bp.add_url_rule("/api/videos/<uuid:video_id>/chapters.vtt", "api_chapters", read_chapters)
    live.register("video", "outline", authorise=pages.may_watch, render=render_live)


@login_required  # type: ignore[untyped-decorator]
def describe(video_id: UUID) -> ResponseReturnValue:
    """Have title, summary and chapters written again."""
    do_and_say(video_id, outlining.request, "It is being described.")
    return redirect(url_for("videos.show", video_id=video_id), 303)


@login_required  # type: ignore[untyped-decorator]
def use_title(video_id: UUID) -> ResponseReturnValue:
    """Give the video the title that was suggested."""
    do_and_say(video_id, _use_title, "The title is changed.")
    return redirect(url_for("videos.show", video_id=video_id), 303)


@login_required  # type: ignore[untyped-decorator]
def read_outline(video_id: UUID) -> dict[str, Any]:
    """Return `{title, summary, chapters[{segment, start_seconds, title}], model, is_extract, is_older, created_at}`.

    `segment` is the number in the transcript shown now, also when it was edited since (`is_older`). 404: none yet.
    """
    outline = _get(video_id)
    video = queries.get_for(current_user, video_id)
    return {
        "title": outline.title,
        "summary": outline.summary,
        "chapters": outlining.chapters_now(video, outline),
        "model": outline.model,
        "is_extract": is_extract(outline),
        "is_older": outline.transcript_id != video.transcript_id,
        "created_at": outline.created_at.isoformat(),
    }


@login_required  # type: ignore[untyped-decorator]
def ask_for_outline(video_id: UUID) -> tuple[dict[str, Any], int]:
    """Have it written again. 202; 409: no model, no transcript, or it is being written."""
    outlining.request(queries.get_for(current_user, video_id))
    return {"status": "asked"}, 202


@login_required  # type: ignore[untyped-decorator]
def read_chapters(video_id: UUID) -> Response:
    """Return the chapters as WebVTT, for players that show them. 404: there are none."""
    outline = _get(video_id)
    video = queries.get_for(current_user, video_id)
    text = exports.chapters_vtt(chapters_of(outline), video.duration_seconds)
    return Response(text, content_type="text/vtt; charset=utf-8", headers={"Cache-Control": "private, no-cache"})


def fragment(video: Video) -> str:
    """Render the outline of a video; nothing in it is personal."""
    outline, run = transcripts.get_outline(video), outlining.last_run(video)
    is_broken = run is not None and run.status in BROKEN and (outline is None or outline.run_id < run.id)
    skipped = (run.output or {}).get("skipped") if run is not None and run.status == "completed" else None
    return render_template(
        "videos/_outline.html",
        video=video,
        outline=outline,
        is_extract=outline is not None and is_extract(outline),
        is_older=outline is not None and outline.transcript_id != video.transcript_id,
        is_writing=run is not None and not run.is_final,
        problem=endings.sentence(run.status, run.error or {}, run.id) if run and is_broken else "",
        can_ask=llm.has_chat() and video.transcript_id is not None and skipped != outlining.NOTHING_SAID,
        clock=exports.short_clock,
    )


def render_live(video_id: UUID) -> str:
    """Render the live view `outline` of the topic `video:<id>`.

    Raises:
        NotFound: the video is gone.
    """
    video = queries.find(video_id)
    if video is None:
        raise NotFound
    return fragment(video)


def is_extract(outline: Outline) -> bool:
    """Tell whether the sandbox made it of sentences of the talk."""
    return outline.model.startswith(llm_models.SANDBOX)


def chapters_of(outline: Outline) -> list[exports.Chapter]:
    """Return the chapters of an outline, as the exports need them."""
    return [exports.Chapter(each["start_seconds"], each["title"]) for each in outline.chapters]


def _get(video_id: UUID) -> Outline:
    outline = transcripts.get_outline(queries.get_for(current_user, video_id))
    if outline is None:
        raise NotFound("Nothing has been written about this video yet.")
    return outline


def _use_title(video: Video) -> None:
    outline = transcripts.get_outline(video)
    if outline is None or not outline.title:
        raise Conflict("No title was suggested.")
    service.change_video(video, {"title": outline.title})
