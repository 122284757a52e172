"""Pages of one video (player and transcript) and of search."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required

from app import live
from app.adapters import llm
from app.lib.ids import parse_id
from app.videos import (
    exports,
    forms,
    outline_pages,
    pages,
    playback,
    playback_pages,
    prices,
    queries,
    queries_search,
    renewing,
    routes_share,
    routes_versions,
    service,
    service_search,
    spoken,
    text_tracks,
)
from app.videos import queries_transcript as transcripts
from app.videos.details import languages_with
from app.videos.models import Video
from app.videos.routes_library import do_and_say


def add_to(bp: Blueprint) -> None:
    """Add these pages to the room's blueprint, and the live view of a video's page."""
    bp.add_url_rule("/videos/<uuid:video_id>", "show", show)
    bp.add_url_rule("/videos/<uuid:video_id>/transcript", "transcript", transcript)
    bp.add_url_rule("/videos/<uuid:video_id>/transcribe-again", "transcribe_again", transcribe_again, methods=["POST"])
    bp.add_url_rule("/videos/<uuid:video_id>/chunk-again", "chunk_again", chunk_again, methods=["POST"])
    bp.add_url_rule("/search", "search", search)
    live.register("video", "page", authorise=pages.may_watch, render=pages.render_live)


@login_required  # type: ignore[untyped-decorator]
def show(video_id: UUID) -> str:
    """Show a video: its player, its state, its transcript; `?t=` starts at that second, `?edit=` is a cue's form."""
    video = queries.get_for(current_user, video_id)
    if "edit" in request.args:
        return routes_versions.edit_page(video, request.args.get("edit", type=int))
    return render_template(
        "videos/show.html",
        video=video,
        status=pages.status_fragment(video),
        outline=outline_pages.fragment(video),
        start_seconds=max(0.0, request.args.get("t", 0.0, type=float)),
        query=request.args.get("q", "")[:300],
        playback=playback_pages.fragment(video),
        kind=playback.playing_kind(video),
        languages=spoken.choices(languages_with(video.language)),
        texts=text_tracks.choices_of(video),
        flags=pages.FLAGS,
        sources=pages.SOURCE_WORDS,
        cost_microusd=pages.cost_of(video),
        again_microusd=prices.audio_price(video.duration_seconds),
        **routes_share.dialog_values(video),
        **_transcript(video, at_seconds=request.args.get("t", 0.0, type=float)),
    )


@login_required  # type: ignore[untyped-decorator]
def transcript(video_id: UUID) -> str:
    """Show the transcript alone: the page fetches it when it is ready."""
    video = queries.get_for(current_user, video_id)
    return render_template("videos/_transcript.html", video=video, **_transcript(video))


@login_required  # type: ignore[untyped-decorator]
def transcribe_again(video_id: UUID) -> ResponseReturnValue:
    """Make a new transcript from what was chosen: the sound, or captions that came with the video."""
    wish = forms.parse_transcription(request.form)
    return _ask(video_id, lambda video: service.transcribe_again(video, **wish), "It is being transcribed again.")


@login_required  # type: ignore[untyped-decorator]
def chunk_again(video_id: UUID) -> ResponseReturnValue:
    """Cut the transcript into chunks and embed them again."""
    return _ask(video_id, service.reprocess, "It is being indexed again.")


@login_required  # type: ignore[untyped-decorator]
def search() -> str:
    """Search over one's videos; `?video=` in one of them."""
    text = request.args.get("q", "").strip()[:300]
    only = parse_id(request.args.get("video", ""))
    video = queries.get_for(current_user, only) if only else None
    hits = service_search.search_videos(current_user.id, text, video_id=video.id if video else None, k=20)
    page = "videos/_hits.html" if request.headers.get("HX-Request") else "videos/search.html"
    return render_template(
        page,
        q=text,
        video=video,
        hits=hits,
        has_videos=bool(hits) or queries_search.has_any(current_user.id),
        clock=exports.short_clock,
    )


def _transcript(video: Video, *, at_seconds: float = 0.0) -> dict[str, object]:
    has_one = video.transcript_id is not None
    found = transcripts.get_transcript(video) if has_one else None
    below = pages.unsure_below(found.model) if found else 0.0
    cues = pages.cue_lines(found.id, below) if found else []
    return {
        "transcript": found,
        "cues": cues,
        # Without a script "Edit" opens the cue at the moment that the page was opened at.
        "edit_at": max((cue.index for cue in cues if cue.start <= at_seconds), default=0),
        "unsure_below": below,
        "can_edit": True,
        "clock": exports.short_clock,
        "formats": exports.FORMATS,
        "renew_cost": renewing.cost_of_one(video, found),
        "note": llm.SANDBOX_NOTE if found and found.model.startswith("sandbox-") else "",
    }


def _ask(video_id: UUID, verb: Callable[[Video], None], message: str) -> ResponseReturnValue:
    do_and_say(video_id, verb, message)
    return redirect(url_for("videos.show", video_id=video_id), 303)
