"""Pages of the library and the upload."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, flash, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required

from app import live
from app.adapters.media import ACCEPTED
from app.errors import AppError, Conflict, Invalid, NotFound
from app.lib.clock import now
from app.videos import (
    batches,
    exports,
    forms,
    progress,
    queries,
    queries_library,
    receiving,
    renew_pages,
    samples,
    service,
    service_bulk,
    service_uploads,
    spoken,
)
from app.videos.details import LANGUAGES
from app.videos.models import Upload, Video
from app.videos.service_intake import AlreadyThere
from app.web import settings

VIEW = "library-view"  # the cookie that remembers grid or list
YEAR_SECONDS = 365 * 86_400


def add_to(bp: Blueprint) -> None:
    """Add these pages to the room's blueprint, and the live view of a card."""
    bp.add_url_rule("/videos", "library", show_library)
    bp.add_url_rule("/upload", "upload", show_upload)
    bp.add_url_rule("/upload", "upload_file", upload_file, methods=["POST"])
    bp.add_url_rule("/upload/<uuid:upload_id>/finish", "finish_upload", finish_upload, methods=["POST"])
    bp.add_url_rule("/upload/<uuid:upload_id>/discard", "discard_upload", discard_upload, methods=["POST"])
    bp.add_url_rule("/videos/samples", "add_samples", add_samples, methods=["POST"])
    bp.add_url_rule("/videos/<uuid:video_id>/card", "card", show_card)
    bp.add_url_rule("/videos/<uuid:video_id>/retry", "retry", retry, methods=["POST"])
    bp.add_url_rule("/videos/<uuid:video_id>/cancel", "cancel", cancel, methods=["POST"])
    bp.add_url_rule("/videos/<uuid:video_id>/delete", "delete", delete, methods=["POST"])
    bp.add_url_rule("/videos/<uuid:video_id>/restore", "restore", restore, methods=["POST"])
    live.register("video", "card", authorise=may_watch, render=render_card)
    live.register("video", "line", authorise=may_watch, render=render_line)
    live.register("videos", "list", authorise=may_watch_list, render=render_news)


@login_required  # type: ignore[untyped-decorator]
def show_library() -> Response:
    """Show one's videos; `status`, `q`, `tag`, `language`: a filter; `sort`, `cursor`: pages; `view`: grid or list."""
    wanted, view = forms.parse_filter(request.args), _view()
    page = queries_library.list_library(current_user.id, wanted)
    is_empty = not page.items and wanted.is_empty
    shown_batches = batches.list_shown(current_user.id)
    piece = "line" if view == "list" else "card"
    topics = [f"videos:{current_user.id}/list", *(f"run:{run.id}/batch" for run in shown_batches)]
    answer = make_response(
        render_template(
            "videos/library.html",
            page=page,
            total=queries_library.count_library(current_user.id, wanted),
            choices=queries_library.choices(current_user.id),
            sorts=queries_library.SORTS,
            formats=exports.FORMATS,
            wanted=wanted,
            view=view,
            is_empty=is_empty,
            has_samples=samples.are_there(),
            deleted=_just_deleted(),
            batches=[batches.fragment(run.id) for run in shown_batches],
            progress_of=progress_of,
            paused_message=progress.PAUSED,
            news=render_news(current_user.id),
            renewal=renew_pages.banner(current_user.id),
            topics=[*topics, *(f"video:{video.id}/{piece}" for video in page.items)],
            next_url=_library_url(wanted, page.next_cursor) if page.next_cursor else None,
            first_url=_library_url(wanted, "") if wanted.cursor else None,
            **_limits(),
        )
    )
    if request.args.get("view"):
        is_secure = settings().has_secure_cookies
        about: dict[str, Any] = {"path": "/videos", "samesite": "Lax", "httponly": True, "secure": is_secure}
        answer.set_cookie(VIEW, view, max_age=YEAR_SECONDS, **about)
    return answer


@login_required  # type: ignore[untyped-decorator]
def show_upload() -> str:
    """Show where files are dropped, and the uploads that are not finished."""
    return _upload_page()


@receiving.checks_csrf_itself
@login_required  # type: ignore[untyped-decorator]
def upload_file() -> ResponseReturnValue:
    """Take the form of a browser without JavaScript: one file, its captions, title, language."""
    with receiving.received_form() as received:
        if received.upload is None:
            return _upload_page(error="Choose a file first."), Invalid.status
        try:
            receiving.check_csrf(received.fields.get("csrf_token"))
            video = service.accept_upload(
                received.upload, forms.parse_details(received.fields, request.args), received.captions
            )
        except AlreadyThere as error:
            return _offer_existing(error, received.upload)
        except AppError as error:
            service_uploads.forget(received.upload)
            return _upload_page(error=error.message), error.status
    flash("Added. Its transcript is being made.", "ok")
    return redirect(_page_of(video), 303)


@login_required  # type: ignore[untyped-decorator]
def finish_upload(upload_id: UUID) -> ResponseReturnValue:
    """Make a video of an upload that has all its bytes; `?again=1` also when the same content is there."""
    upload = queries.get_upload_for(current_user, upload_id)
    tus = upload.metadata_.get("tus", {})
    try:
        video = service.accept_upload(upload, forms.parse_details(tus | request.form.to_dict(), request.args))
    except AlreadyThere as error:
        return _offer_existing(error, queries.get_upload_for(current_user, upload_id))
    except AppError as error:
        return _upload_page(error=error.message), error.status
    flash("Added. Its transcript is being made.", "ok")
    return redirect(_page_of(video), 303)


@login_required  # type: ignore[untyped-decorator]
def discard_upload(upload_id: UUID) -> ResponseReturnValue:
    """Forget an upload."""
    service_uploads.discard(queries.get_upload_for(current_user, upload_id))
    flash("Discarded.", "ok")
    return redirect(url_for("videos.upload"), 303)


@login_required  # type: ignore[untyped-decorator]
def add_samples() -> ResponseReturnValue:
    """Add the sample talks that the person does not have yet."""
    count = samples.add_to_library(current_user.id)
    flash(f"{count} sample talks added. Watch them being transcribed." if count else "You have them already.", "ok")
    return redirect(url_for("videos.library"), 303)


@login_required  # type: ignore[untyped-decorator]
def show_card(video_id: UUID) -> str:
    """Show one card of the library."""
    return _card(queries.get_for(current_user, video_id))


@login_required  # type: ignore[untyped-decorator]
def retry(video_id: UUID) -> ResponseReturnValue:
    """Go on from the step that failed."""
    return _do(video_id, service.retry, "Trying again from where it stopped.")


@login_required  # type: ignore[untyped-decorator]
def cancel(video_id: UUID) -> ResponseReturnValue:
    """Stop work on a video."""
    return _do(video_id, service.cancel, "Cancelled.")


@login_required  # type: ignore[untyped-decorator]
def delete(video_id: UUID) -> ResponseReturnValue:
    """Delete a video; the library offers for 30 s to take it back."""
    service.delete(queries.get_for(current_user, video_id))
    return redirect(url_for("videos.library", deleted=video_id), 303)


@login_required  # type: ignore[untyped-decorator]
def restore(video_id: UUID) -> ResponseReturnValue:
    """Take a deletion back, and that of everything that was deleted with it."""
    video = queries.find_deleted(current_user.id, video_id)
    if video is None:
        raise NotFound
    lot = queries_library.list_deleted_with(video)
    try:
        count = service_bulk.restore(lot)
        stopped = sum(each.status == "cancelled" for each in lot)
        flash("The video is back." if count == 1 else f"{count:,} videos are back.", "ok")
        if stopped:
            flash(f"Work on {stopped:,} of them was cancelled. Retry it where you still want it.", "info")
    except Conflict as error:
        flash(error.message, "bad")
    return redirect(url_for("videos.library"), 303)


def may_watch(user: Any, video_id: UUID) -> bool:
    """Tell whether `user` may watch this video's topics."""
    return queries.get_for(user, video_id) is not None


def render_card(video_id: UUID) -> str:
    """Render a card for a socket."""
    video = queries.find(video_id)
    if video is None:
        raise NotFound
    return _card(video)


def render_line(video_id: UUID) -> str:
    """Render a line of the list for a socket."""
    video = queries.find(video_id)
    if video is None:
        raise NotFound
    return _card(video, "line")


def may_watch_list(user: Any, owner_id: UUID) -> bool:
    """Tell whether `user` may watch what comes into a library: only their own, administrators included."""
    return bool(getattr(user, "id", None) == owner_id)


def render_news(owner_id: UUID) -> str:
    """Render what tells an open library that its list has changed."""
    return render_template("videos/_news.html", owner_id=owner_id, version=queries.library_version(owner_id))


def progress_of(video: Video) -> dict[str, Any] | None:
    """Return the progress of a video that is under way, else None."""
    return None if progress.is_final(video) else progress.progress(video)


def _library_url(wanted: queries_library.LibraryFilter, cursor: str) -> str:
    named: dict[str, Any] = wanted.named(cursor=cursor)
    return url_for("videos.library", **named)


def _view() -> str:
    """Return how the library is shown: as the address says, else as this browser has seen it last."""
    chosen = request.args.get("view") or request.cookies.get(VIEW, "")
    return "list" if chosen == "list" else "grid"


def _just_deleted() -> Sequence[Video]:
    """Return what the person has deleted a moment ago, while it can be taken back."""
    video = queries.find_deleted(current_user.id, request.args.get("deleted"))
    if video is None or video.deleted_at is None or video.deleted_at < now() - service.UNDO:
        return []
    return queries_library.list_deleted_with(video)


def _card(video: Video, shape: str = "card") -> str:
    values = {"progress": progress_of(video), "paused_message": progress.PAUSED}
    return render_template(f"videos/_{shape}.html", video=video, **values)


def do_and_say(video_id: UUID, verb: Callable[[Video], object], message: str) -> Video:
    """Do `verb` with the person's video and say `message`, or why it cannot be done now; for both files of pages."""
    video = queries.get_for(current_user, video_id)
    try:
        verb(video)
        flash(message, "ok")
    except Conflict as error:
        flash(error.message, "warn")
    return video


def _do(video_id: UUID, verb: Any, message: str) -> ResponseReturnValue:
    video = do_and_say(video_id, verb, message)
    back = request.form.get("back", "")
    return redirect(_page_of(video) if back == "page" else url_for("videos.library"), 303)


def _page_of(video: Video) -> str:
    return url_for("videos.show", video_id=video.id)


def _offer_existing(error: AlreadyThere, upload: Upload) -> ResponseReturnValue:
    return _upload_page(same=error.video, upload=upload), error.status


def _upload_page(**values: Any) -> str:
    uploads = [(upload, service_uploads.offset_of(upload)) for upload in queries.list_uploads(current_user.id)]
    return render_template("videos/upload.html", uploads=uploads, **_limits(), **values)


def _limits() -> dict[str, Any]:
    return {
        "accepted": ACCEPTED,
        "most_bytes": settings().max_upload_bytes,
        "most_at_once": settings().max_uploads_at_once,
        "most_seconds": settings().max_duration_seconds,
        "languages": spoken.choices(LANGUAGES),
        "is_english_only": spoken.is_english_only(),
    }
