"""The JSON endpoints of videos: upload, list, read, change, delete, retry, cancel, reprocess."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import UUID

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required

from app.adapters.storage import check_key, storage
from app.errors import AppError, Invalid, NotFound
from app.videos import (
    forms,
    links,
    playback,
    progress,
    queries,
    queries_library,
    receiving,
    rendering,
    service,
    service_uploads,
    text_tracks,
)
from app.videos.captions import MAX_BYTES as MOST_CAPTION_BYTES
from app.videos.details import clean_filename
from app.videos.models import FINAL, Video
from app.videos.service_intake import AlreadyThere
from app.web import absolute_url

bp = Blueprint("videos_api", __name__)

CREATED, OK, CONFLICT = HTTPStatus.CREATED, HTTPStatus.OK, HTTPStatus.CONFLICT


@bp.post("/api/videos")
@receiving.checks_csrf_itself
@login_required  # type: ignore[untyped-decorator]
def create_video() -> ResponseReturnValue:
    """Make a video of a file.

    Multipart: `file`, and `captions`, `title`, `language`, `vocabulary`. JSON: `upload_id`, and the same, `captions`
    as text.

    201: `{id, title, status, url}`. 409: the same content is there (`video` is it; `?again=1` adds it all the
    same), or the upload is not finished. 413, 422, 429, 507: the message says what to do; nothing is kept.
    """
    try:
        video = _from_form() if request.mimetype == "multipart/form-data" else _from_upload()
    except AlreadyThere as error:
        answer = {"error": error.code, "message": error.message, "details": [], "video": summary(error.video)}
        return jsonify(answer), CONFLICT
    return jsonify(summary(video)), CREATED


@bp.post("/api/video/upload")
@login_required  # type: ignore[untyped-decorator]
def create_from_storage() -> ResponseReturnValue:
    """Make a video of a stored file under the caller's own prefix, or transcribe it again if it is one already.

    201: as POST /api/videos. 404: another prefix, another creator, or no such file.
    """
    given = _json()
    key, creator = str(given.get("storagePath", "")), given.get("creatorId")
    if creator not in (None, str(current_user.id)) or not key.startswith(f"users/{current_user.id}/"):
        raise NotFound("There is no such file of yours.")
    try:
        check_key(key)
    except ValueError:
        raise NotFound("There is no such file of yours.") from None
    known = queries.find_by_key(current_user.id, key)
    if known is not None:
        if given.get("videoId") not in (None, str(known.id)):
            raise NotFound("There is no such file of yours.")
        if known.status in FINAL:
            service.transcribe_again(known)
        return jsonify(summary(known)), CREATED
    return jsonify(summary(_from_storage(given, key))), CREATED


@bp.get("/api/videos")
@login_required  # type: ignore[untyped-decorator]
def list_videos() -> ResponseReturnValue:
    """Return `{items, next_cursor}`, newest first or by `sort`; filters `status`, `q`, `tag`, `language`."""
    page = queries_library.list_library(current_user.id, forms.parse_filter(request.args), _limit())
    return jsonify(items=[summary(video) | _more(video) for video in page.items], next_cursor=page.next_cursor)


@bp.get("/api/videos/<uuid:video_id>")
@login_required  # type: ignore[untyped-decorator]
def show_video(video_id: UUID) -> ResponseReturnValue:
    """Return one video with its progress. 404: no such video of this person."""
    return jsonify(details(queries.get_for(current_user, video_id)))


@bp.patch("/api/videos/<uuid:video_id>")
@login_required  # type: ignore[untyped-decorator]
def change_video(video_id: UUID) -> ResponseReturnValue:
    """Change title, description, language, vocabulary or tags. 422: a field cannot be used."""
    video = queries.get_for(current_user, video_id)
    service.change_video(video, forms.parse_changes(request.get_json(silent=True)))
    return jsonify(details(video))


@bp.delete("/api/videos/<uuid:video_id>")
@login_required  # type: ignore[untyped-decorator]
def delete_video(video_id: UUID) -> ResponseReturnValue:
    """Delete a video; its files and rows go after 30 s. 204."""
    service.delete(queries.get_for(current_user, video_id))
    return "", HTTPStatus.NO_CONTENT


@bp.post("/api/videos/<uuid:video_id>/retry")
@login_required  # type: ignore[untyped-decorator]
def retry_video(video_id: UUID) -> ResponseReturnValue:
    """Go on from the step that failed. 409: it has not failed."""
    return _do(video_id, service.retry)


@bp.post("/api/videos/<uuid:video_id>/cancel")
@login_required  # type: ignore[untyped-decorator]
def cancel_video(video_id: UUID) -> ResponseReturnValue:
    """Stop work. 409: nothing is under way."""
    return _do(video_id, service.cancel)


@bp.post("/api/videos/<uuid:video_id>/transcribe")
@login_required  # type: ignore[untyped-decorator]
def transcribe_video(video_id: UUID) -> ResponseReturnValue:
    """Make a new transcript: `{text_from?, language?, vocabulary?}`; `text_from`: sound, captions or track:<index>."""
    wish = forms.parse_transcription(_json() if request.data else {})
    return _do(video_id, lambda video: service.transcribe_again(video, **wish))


@bp.post("/api/videos/<uuid:video_id>/reprocess")
@login_required  # type: ignore[untyped-decorator]
def reprocess_video(video_id: UUID) -> ResponseReturnValue:
    """Chunk and embed again. 409: no transcript, or work is under way."""
    return _do(video_id, service.reprocess)


@bp.post("/api/videos/<uuid:video_id>/restore")
@login_required  # type: ignore[untyped-decorator]
def restore_video(video_id: UUID) -> ResponseReturnValue:
    """Take a deletion back. 404: it was not deleted, or is gone. 409: the 30 s are over."""
    video = queries.find_deleted(current_user.id, video_id)
    if video is None:
        raise NotFound
    service.restore(video)
    return jsonify(details(queries.get_for(current_user, video_id)))


def summary(video: Video) -> dict[str, Any]:
    """Return what every answer about a video has."""
    return {"id": str(video.id), "title": video.title, "status": video.status, "url": links.page_url(video)}


def details(video: Video) -> dict[str, Any]:
    """Return everything about one video."""
    error = {"code": video.error_code, "message": video.error_message} if video.error_message else None
    return (
        summary(video)
        | _more(video)
        | {
            "progress": progress.progress(video),
            "error": error,
            "playback": _playback(video),
        }
    )


def _playback(video: Video) -> dict[str, Any]:
    """Return `{status, url, percent, error}`.

    `status`: `original` (browsers play the uploaded file), `making`, `ready` (a copy), `failed`, or `none` (browsers do
    not play it, and no copy was asked for). `url` is there when there is something to play; it needs the key, too.
    """
    (status, run), kind = rendering.state(video), playback.playing_kind(video)
    return {
        "status": status or ("original" if kind else "none"),
        "url": absolute_url("videos.media", video_id=video.id, kind=kind) if kind else None,
        "percent": (run.progress or {}).get("percent") if run else None,
        "error": rendering.problem(video) if status == "failed" else None,
    }


def _more(video: Video) -> dict[str, Any]:
    return {
        "description": video.description,
        "tags": video.tags,
        "original_filename": video.original_filename,
        "duration_seconds": video.duration_seconds,
        "size_bytes": video.size_bytes,
        "media_type": video.media_type,
        "width": video.width,
        "height": video.height,
        "language": video.language,
        "vocabulary": video.vocabulary,
        "text_tracks": [{**each, "name": text_tracks.name_of(each)} for each in video.text_tracks],
        "created_at": video.created_at.isoformat(),
    }


def _from_form() -> Video:
    with receiving.received_form() as received:
        if received.upload is None:
            raise Invalid("Send the video as the form field “file”.", {"file": "Choose a file."})
        try:
            receiving.check_csrf(received.fields.get("csrf_token"))
            details = forms.parse_details(received.fields, request.args)
            return service.accept_upload(received.upload, details, received.captions)
        except AppError:
            service_uploads.forget(received.upload)
            raise


def _from_upload() -> Video:
    receiving.check_csrf()
    receiving.allow_body(2 * MOST_CAPTION_BYTES)
    given = _json()
    upload_id = given.get("upload_id")
    if not isinstance(upload_id, str) or not upload_id:
        sentence = "Send multipart/form-data with a file, or JSON with the upload_id of a finished upload."
        raise Invalid(sentence, {"upload_id": sentence})
    upload = queries.get_upload_for(current_user, upload_id.rstrip("/").rpartition("/")[2])
    named = {name: value for name, value in given.items() if value not in (None, "")}
    details = forms.parse_details(upload.metadata_.get("tus", {}) | named, request.args)
    with _captions(named.get("captions")) as captions:
        return service.accept_upload(upload, details, captions)


@contextmanager
def _captions(text: object) -> Iterator[Path | None]:
    if text is None:
        yield None
        return
    if not isinstance(text, str):
        raise Invalid("The captions must be the text of an SRT or WebVTT file.", {"captions": "Send text."})
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".captions") as file:
        file.write(text)
        file.flush()
        yield Path(file.name)


def _from_storage(given: dict[str, Any], key: str) -> Video:
    size = storage().size(key)
    filename = clean_filename(str(given.get("originalFilename") or Path(key).name))
    details = forms.parse_details(given, request.args)
    upload = service_uploads.create(current_user.id, size, filename)
    try:
        storage().fetch(key, service_uploads.path_of(upload))
        return service.accept_upload(upload, details)
    except AppError:
        service_uploads.forget(upload)
        raise


def _do(video_id: UUID, verb: Any) -> ResponseReturnValue:
    video = queries.get_for(current_user, video_id)
    verb(video)
    return jsonify(details(queries.get_fresh(video))), OK


def _json() -> dict[str, Any]:
    given = request.get_json(silent=True)
    if not isinstance(given, dict):
        raise Invalid("Send a JSON object, or multipart/form-data with a file.")
    return given


def _limit() -> int:
    wanted = request.args.get("limit", queries_library.PAGE_SIZE, type=int)
    return max(1, min(100, wanted))
