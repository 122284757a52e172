"""Title, description, tags and language of one video: a page, and for the script the form alone."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from uuid import UUID

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required

from app.errors import Invalid
from app.videos import forms_bulk, queries, queries_library, service
from app.videos.details import languages_with
from app.videos.models import Video


def add_to(bp: Blueprint) -> None:
    """Add these addresses to the room's blueprint."""
    bp.add_url_rule("/videos/<uuid:video_id>/details", "details", show_details)
    bp.add_url_rule("/videos/<uuid:video_id>/details", "change_details", change_details, methods=["POST"])


@login_required  # type: ignore[untyped-decorator]
def show_details(video_id: UUID) -> str:
    """Show the form."""
    video = queries.get_for(current_user, video_id)
    given = {name: getattr(video, name) for name in ("title", "description", "language", "vocabulary")}
    return _form(video, given | {"tags": ", ".join(video.tags)}, {}, request.args.get("back", ""))


@login_required  # type: ignore[untyped-decorator]
def change_details(video_id: UUID) -> ResponseReturnValue:
    """Keep what was written, or show the form again with what is wrong with it."""
    video, back = queries.get_for(current_user, video_id), request.form.get("back", "")
    try:
        service.change_video(video, forms_bulk.parse_details(request.form))
    except Invalid as error:
        return _form(video, request.form.to_dict(), error.fields or {"title": error.message}, back), error.status
    if request.headers.get("HX-Request"):
        return "", HTTPStatus.NO_CONTENT
    flash("Saved.", "ok")
    where = url_for("videos.library") if back == "library" else url_for("videos.show", video_id=video.id)
    return redirect(where, 303)


def _form(video: Video, given: dict[str, Any], errors: dict[str, str], back: str) -> str:
    is_script = bool(request.headers.get("HX-Request"))
    return render_template(
        "videos/_details.html" if is_script else "videos/details.html",
        video=video,
        given=given,
        errors=errors,
        back="library" if back == "library" else "page",
        languages=languages_with(given.get("language", "")),
        known_tags=[tag for tag, _ in queries_library.choices(current_user.id).tags],
    )
