"""Share links: how an owner opens and ends one, and what whoever has it may see."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, after_this_request, flash, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required

from app.adapters import llm
from app.errors import NotFound
from app.extensions import limiter
from app.videos import (
    exports,
    pages,
    playback,
    queries,
    queries_share,
    rendering,
    routes_media,
    service_share,
    share_links,
)
from app.videos import queries_transcript as transcripts
from app.videos.models import Share, Video

GONE = "This link does not lead anywhere, or not any more. Ask whoever sent it to you for a new one."
# Whoever watches asks for one part of a film after another; these only stop who asks for everything all the time.
PAGES_AT_MOST, FILES_AT_MOST = "120/minute", "1200/minute"


def add_to(bp: Blueprint) -> None:
    """Add these pages to the room's blueprint."""
    bp.add_url_rule("/videos/<uuid:video_id>/share", "share", share, methods=["POST"])
    bp.add_url_rule("/videos/<uuid:video_id>/unshare", "unshare", unshare, methods=["POST"])
    bp.add_url_rule("/api/videos/<uuid:video_id>/share", "api_share", api_share, methods=["POST"])
    bp.add_url_rule("/api/videos/<uuid:video_id>/share", "api_unshare", api_unshare, methods=["DELETE"])
    bp.add_url_rule("/s/<token>", "shared", shared)
    bp.add_url_rule("/s/files/<token>", "shared_file", shared_file)


@login_required  # type: ignore[untyped-decorator]
def share(video_id: UUID) -> ResponseReturnValue:
    """Open one's video to whoever has its link; `anew` ends the link before."""
    anew = bool(request.form.get("anew"))
    service_share.share(queries.get_for(current_user, video_id), anew=anew)
    # The dialog that then stands open says it: in front of a dialog no toast can be seen.
    return redirect(url_for("videos.show", video_id=video_id, share="anew" if anew else "open"), 303)


@login_required  # type: ignore[untyped-decorator]
def unshare(video_id: UUID) -> ResponseReturnValue:
    """End the link of one's video."""
    service_share.revoke(queries.get_for(current_user, video_id))
    flash("The link has ended. Nobody but you can open this video.", "ok")
    return redirect(url_for("videos.show", video_id=video_id), 303)


@login_required  # type: ignore[untyped-decorator]
def api_share(video_id: UUID) -> ResponseReturnValue:
    """Open one's video and return `{url, created_at, visits, last_visit_at}`.

    201: a new link; 200: there was one, and it stays. `?anew=1`: always a new one, and the link before ends.
    404: no such video of this person.
    """
    video = queries.get_for(current_user, video_id)
    found, is_new = service_share.share(video, anew=request.args.get("anew") == "1")
    return jsonify(_about(found)), HTTPStatus.CREATED if is_new else HTTPStatus.OK


@login_required  # type: ignore[untyped-decorator]
def api_unshare(video_id: UUID) -> ResponseReturnValue:
    """End the link of one's video. 204, also when there was none. 404: no such video of this person."""
    service_share.revoke(queries.get_for(current_user, video_id))
    return "", HTTPStatus.NO_CONTENT


@limiter.limit(PAGES_AT_MOST)
def shared(token: str) -> str:
    """Show a video to whoever has its link: to watch, read and search, and nothing else. 404: no such link now."""
    after_this_request(_keep_private)
    named = share_links.read_page_token(token)
    found, video = _shared(named)
    if _is_visit(video):
        service_share.note_visit(found.id)
    transcript = transcripts.get_transcript(video) if video.transcript_id else None
    return render_template(
        "videos/shared.html",
        video=video,
        files={kind: _file_url(found, kind) for kind in ("poster", "transcript")},
        source=_file_url(found, kind) if (kind := playback.playing_kind(video)) else "",
        is_making=rendering.state(video)[0] == "making",
        start_seconds=max(0.0, request.args.get("t", 0.0, type=float)),
        query=request.args.get("q", "")[:300],
        transcript=transcript,
        cues=pages.cue_lines(transcript.id) if transcript else [],
        outline=queries_share.find_outline(video),
        clock=exports.short_clock,
        note=llm.SANDBOX_NOTE if transcript and transcript.model.startswith("sandbox-") else "",
    )


@limiter.limit(FILES_AT_MOST)
def shared_file(token: str) -> Response:
    """Return a file behind a link: the film, its poster, or the transcript as captions. 404: as the page; 416."""
    after_this_request(_keep_private)
    named = share_links.read_file_token(token)
    _, video = _shared(named[0] if named else None)
    kind = named[1] if named else ""
    if kind == "transcript":
        return _captions(video)
    answer = routes_media.send_file_of(video, kind)
    answer.headers.pop("Content-Disposition", None)  # the name that the owner gave the file is nobody's business
    return answer


def dialog_values(video: Video) -> dict[str, Any]:
    """Return what the owner's dialog needs: the open link with its address, if any, and how it stands open."""
    found = queries_share.find_open(video)
    return {
        "share": found,
        "share_url": share_links.page_url(found.id) if found else None,
        "is_share_open": "share" in request.args,
        "is_share_new": request.args.get("share") == "anew",
    }


def _shared(share_id: UUID | None) -> tuple[Share, Video]:
    found = queries_share.find_shared(share_id) if share_id else None
    if found is None:
        raise NotFound(GONE)
    return found


def _captions(video: Video) -> Response:
    if video.transcript_id is None:
        raise NotFound(GONE)
    found = transcripts.get_transcript(video)
    document = exports.Document(video.title, found.language, transcripts.list_lines(found.id))
    return Response(exports.vtt(document), content_type="text/vtt; charset=utf-8")


def _file_url(found: Share, kind: str) -> str:
    return url_for("videos.shared_file", token=share_links.file_token(found.id, kind))


def _is_visit(video: Video) -> bool:
    """Tell whether somebody has come: not the owner, not a program that only asks for the head or looks ahead."""
    looks_ahead = "prefetch" in request.headers.get("Sec-Purpose", request.headers.get("Purpose", ""))
    is_owner = current_user.is_authenticated and current_user.id == video.owner_id
    return request.method == "GET" and not looks_ahead and not is_owner


def _keep_private(answer: Response) -> Response:
    """Keep the page out of caches and indexes, and its address out of other sites' logs; also where it is a 404."""
    if not answer.cache_control.private:
        answer.headers["Cache-Control"] = "private, no-store"
    answer.headers["X-Robots-Tag"] = "noindex, nofollow"
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer


def _about(found: Share) -> dict[str, Any]:
    return {
        "url": share_links.page_url(found.id),
        "created_at": found.created_at.isoformat(),
        "visits": found.visits,
        "last_visit_at": found.last_visit_at.isoformat() if found.last_visit_at else None,
    }
