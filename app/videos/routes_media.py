"""The files of videos: for their owner, and for whoever holds a signed address."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from uuid import UUID

from flask import Blueprint, Response, request, send_file
from flask_login import current_user, login_required
from werkzeug.http import is_resource_modified

from app.adapters.storage import Storage, storage
from app.errors import NotFound
from app.videos import links, queries
from app.videos.models import Video

PART_BYTES = 1 << 20
TYPES = {"jpg": "image/jpeg", "vtt": "text/vtt; charset=utf-8", "srt": "application/x-subrip; charset=utf-8"}


def add_to(bp: Blueprint) -> None:
    """Add these addresses to the room's blueprint."""
    bp.add_url_rule("/videos/<uuid:video_id>/<any(source, rendition, poster, captions):kind>", "media", show_media)
    bp.add_url_rule("/media/<token>", "signed_media", show_signed)


@login_required  # type: ignore[untyped-decorator]
def show_media(video_id: UUID, kind: str) -> Response:
    """Return a file of one's video; Range and conditional requests work. 404: no such video or file; 416."""
    return send_file_of(queries.get_for(current_user, video_id), kind)


def show_signed(token: str) -> Response:
    """Return the file that a signed address names, to anybody. 404: forged, too old, or deleted."""
    named = links.read_token(token)
    video = queries.find(named[0]) if named else None
    if named is None or video is None:
        raise NotFound
    return send_file_of(video, named[1])


def send_file_of(video: Video, kind: str) -> Response:
    """Return one of a video's files to somebody who may have it. 404: it has none of that kind; 416."""
    key = links.key_of(video, kind)
    if key is None:
        raise NotFound
    said = {"source": video.media_type, "rendition": video.rendition_type}.get(kind)
    content_type = said or TYPES[key.rpartition(".")[2]]
    etag, filename = f"{video.content_hash[:32]}-{kind}", video.original_filename
    if kind == "rendition":  # a copy that was made anew has another name
        etag += f"-{key.rpartition('/')[2].partition('.')[0]}"
    about = storage().about(key)
    size, modified_at = about.size_bytes, about.modified_at.replace(microsecond=0)
    wanted = _wanted(size, etag, modified_at)
    if wanted is None:
        answer = Response(status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        answer.headers["Content-Range"] = f"bytes */{size}"
    elif (path := storage().local_path(key)) is not None:
        name = filename if kind == "source" else path.name
        answer = send_file(
            path, mimetype=content_type, download_name=name, conditional=True, etag=etag, last_modified=modified_at
        )
    else:
        answer = _stream(storage(), key, content_type, etag, modified_at, wanted, size)
    # The bytes are hostile: they must never be taken for a page.
    answer.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    answer.headers["Cache-Control"] = "private, max-age=0, must-revalidate"
    return answer


def _wanted(size: int, etag: str, modified_at: datetime) -> tuple[int, int] | None:
    """Return from where to where the file is asked for, None when it has no such part.

    A range that is not understood, or of another version of the file (If-Range), means the whole file (RFC 9110,
    13.1.5 and 14.2).
    """
    found = request.range
    is_other = "If-Range" in request.headers and is_resource_modified(
        request.environ, etag, None, modified_at, ignore_if_range=False
    )
    if found is None or found.units != "bytes" or len(found.ranges) != 1 or is_other:
        request.environ.pop("HTTP_RANGE", None)  # else send_file would refuse what is to be ignored
        return 0, size
    if found.ranges[0][0] < -size:  # the last bytes, and more of them than there are: all of it (RFC 9110, 14.1.2)
        request.environ["HTTP_RANGE"] = "bytes=0-"
        return 0, size
    return found.range_for_length(size)


def _stream(  # noqa: PLR0917
    store: Storage, key: str, content_type: str, etag: str, modified_at: datetime, wanted: tuple[int, int], size: int
) -> Response:
    """Return the file, or the part of it that was asked for, from a store that is elsewhere."""
    start, end = wanted
    answer = Response(content_type=content_type)
    answer.set_etag(etag)
    answer.last_modified = modified_at
    answer.accept_ranges = "bytes"
    answer.make_conditional(request)
    if answer.status_code == HTTPStatus.NOT_MODIFIED:
        return answer
    if "HTTP_RANGE" in request.environ:
        answer.status_code = HTTPStatus.PARTIAL_CONTENT
        answer.headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    answer.content_length = end - start
    answer.response = (store.read_range(key, at, min(end, at + PART_BYTES)) for at in range(start, end, PART_BYTES))
    return answer
