"""The player's state on the pages of a video: whether browsers play it, or how far a copy that they play is."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_login import login_required

from app import live
from app.errors import NotFound
from app.videos import pages, playback, queries, rendering
from app.videos.models import Video
from app.videos.routes_library import do_and_say


def add_to(bp: Blueprint) -> None:
    """Add the button to the room's blueprint, and the live view of the player's state."""
    bp.add_url_rule("/videos/<uuid:video_id>/make-rendition", "make_rendition", make_rendition, methods=["POST"])
    live.register("video", "playback", authorise=pages.may_watch, render=render_live)


@login_required  # type: ignore[untyped-decorator]
def make_rendition(video_id: UUID) -> ResponseReturnValue:
    """Have a copy made that browsers play."""
    do_and_say(video_id, rendering.request, "A copy that your browser can play is being made.")
    return redirect(url_for("videos.show", video_id=video_id), 303)


def fragment(video: Video) -> str:
    """Render the state of the player; nothing in it is personal."""
    status, run = rendering.state(video)
    kind = playback.playing_kind(video)
    return render_template(
        "videos/_playback.html",
        video=video,
        status=status,
        progress=(run.progress or {}) if run else {},
        is_waiting=run is not None and run.status == "queued",
        is_paused=run is not None and run.status == "paused",
        problem=rendering.problem(video) if status == "failed" else "",
        url=url_for("videos.media", video_id=video.id, kind=kind) if kind else "",
    )


def render_live(video_id: UUID) -> str:
    """Render the live view `playback` of the topic `video:<id>`.

    Raises:
        NotFound: the video is gone.
    """
    video = queries.find(video_id)
    if video is None:
        raise NotFound
    return fragment(video)
