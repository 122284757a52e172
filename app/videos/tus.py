"""Resumable uploads at /uploads/: tus 1.0 with creation, creation-with-upload, termination, checksum, expiration.

A finished upload becomes a video by POST /api/videos {"upload_id"} (or the upload page's form).
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from flask import Blueprint, Response, g, request
from flask_login import current_user, login_required

from app.adapters.storage import StorageFull
from app.db import db, end_reading
from app.errors import AppError, Invalid, TooLarge
from app.videos import forms, queries, receiving, service_uploads
from app.videos.details import clean_filename
from app.videos.models import Upload
from app.videos.service_uploads import ALGORITHMS, Checksum
from app.web import settings

bp = Blueprint("tus", __name__, url_prefix="/uploads")

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,termination,checksum,expiration"
OFFSET_TYPE = "application/offset+octet-stream"
MOST_BYTES = 1 << 50


class WrongVersion(AppError):
    """The client speaks another version of tus."""

    status = 412
    code = "tus_version"

    def __init__(self) -> None:
        super().__init__(f"Send the header Tus-Resumable: {VERSION}.")


class WrongType(AppError):
    """The bytes do not come as bytes."""

    status = 415
    code = "unsupported_media_type"

    def __init__(self) -> None:
        super().__init__(f"Send the bytes as {OFFSET_TYPE}.")


@bp.before_request
def check_version() -> None:
    """Refuse other versions of the protocol; OPTIONS tells which one is spoken."""
    if request.method != "OPTIONS" and request.headers.get("Tus-Resumable", VERSION) != VERSION:
        raise WrongVersion


@bp.after_request
def add_version(answer: Response) -> Response:
    """Say the protocol's version in every answer."""
    answer.headers["Tus-Resumable"] = VERSION
    if answer.status_code == WrongVersion.status:
        answer.headers["Tus-Version"] = VERSION
    return answer


@bp.route("/", methods=["OPTIONS"], strict_slashes=False, provide_automatic_options=False)
@bp.route("/<upload_id>", methods=["OPTIONS"], provide_automatic_options=False)
def describe(upload_id: str = "") -> Response:  # noqa: ARG001
    """Say what this server can."""
    return _answer(
        204,
        Tus_Version=VERSION,
        Tus_Extension=EXTENSIONS,
        Tus_Max_Size=settings().max_upload_bytes,
        Tus_Checksum_Algorithm=",".join(ALGORITHMS),
    )


@bp.post("/", strict_slashes=False)
@receiving.checks_csrf_itself
@login_required  # type: ignore[untyped-decorator]
def create() -> Response:
    """Begin an upload, with its first bytes when the request carries them.

    413: over the limit or the quota. 429: too many at once. 400: no or an unusable length. 507: the disk is full.
    """
    receiving.check_csrf()
    length = _number("Upload-Length")
    metadata = forms.parse_metadata(request.headers.get("Upload-Metadata", ""))
    filename = clean_filename(metadata.get("filename") or metadata.get("name"))
    upload = service_uploads.create(current_user.id, length, filename, {"tus": metadata})
    headers: dict[str, Any] = {"Location": f"{bp.url_prefix}/{upload.id}"}
    if request.mimetype == OFFSET_TYPE:
        try:
            headers["Upload_Offset"] = end = _receive(upload, 0)
            if g.get("body_broke") or end < (request.content_length or 0):
                raise _bad("The connection broke before this upload had an address. Start it again.")
        except AppError:
            service_uploads.forget(upload)  # its address was never told, so nobody could go on with it or discard it
            raise
    return _answer(201, Upload_Expires=_date(upload), **headers)


@bp.route("/<upload_id>", methods=["HEAD"])
@login_required  # type: ignore[untyped-decorator]
def show(upload_id: str) -> Response:
    """Say how many bytes have arrived. 404: no such upload of this person."""
    upload = queries.get_upload_for(current_user, upload_id)
    return _answer(
        200,
        Upload_Offset=service_uploads.offset_of(upload),
        Upload_Length=upload.length_bytes,
        Upload_Metadata=request_metadata(upload),
        Upload_Expires=_date(upload),
    )


@bp.route("/<upload_id>", methods=["PATCH", "POST"])
@receiving.checks_csrf_itself
@login_required  # type: ignore[untyped-decorator]
def add(upload_id: str) -> Response:
    """Add bytes; POST with X-HTTP-Method-Override for those behind old proxies.

    404: no such upload of this person. 409: the offset is not the upload's. 413: more bytes than were announced.
    415: another content type. 423: another connection is writing. 460: the checksum is wrong.
    """
    receiving.check_csrf()
    method = request.headers.get("X-HTTP-Method-Override", request.method)
    if method == "DELETE":
        return discard(upload_id)  # type: ignore[no-any-return]
    if method != "PATCH":
        raise Invalid("POST here needs the header X-HTTP-Method-Override: PATCH or DELETE.")
    if request.mimetype != OFFSET_TYPE:
        raise WrongType
    upload = queries.get_upload_for(current_user, upload_id)
    offset = _receive(upload, _number("Upload-Offset"))
    return _answer(204, Upload_Offset=offset, Upload_Expires=_date(upload))


@bp.delete("/<upload_id>")
@login_required  # type: ignore[untyped-decorator]
def discard(upload_id: str) -> Response:
    """Forget an upload. 404: no such upload of this person. 423: bytes are coming in."""
    service_uploads.discard(queries.get_upload_for(current_user, upload_id))
    return _answer(204)


def request_metadata(upload: Upload) -> str:
    """Return the Upload-Metadata that the upload was created with."""
    given = upload.metadata_.get("tus", {})
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}".strip() for key, value in given.items())


def _receive(upload: Upload, offset: int) -> int:
    if request.content_length is not None and request.content_length > upload.length_bytes - offset:
        raise TooLarge("These are more bytes than were announced when the upload was created.")
    checksum = _checksum()
    receiving.allow_body(max(0, upload.length_bytes - offset))
    # The bytes may take hours: they must not hold a database connection, which reading an expired row would open again.
    db.session.expunge(upload)
    end_reading()
    try:
        end = service_uploads.append(upload, offset, _read, checksum)
    except StorageFull:
        service_uploads.forget(upload)  # what has arrived would keep the disk full for a day
        raise
    service_uploads.keep_longer(upload)
    return end


def _read(size: int) -> bytes:
    try:
        return request.stream.read(size)
    except receiving.BROKEN:
        g.body_broke = True
        return b""  # what has arrived is kept: that is what makes an upload resumable


def _checksum() -> Checksum | None:
    header = request.headers.get("Upload-Checksum")
    if header is None:
        return None
    algorithm, _, digest = header.strip().partition(" ")
    try:
        decoded = base64.b64decode(digest, validate=True)
    except (binascii.Error, ValueError):
        raise _bad("Upload-Checksum must be an algorithm, a space, and the digest in base64.") from None
    if algorithm not in ALGORITHMS or not decoded:
        raise _bad(f"Upload-Checksum: use one of {', '.join(ALGORITHMS)}.")
    return Checksum(algorithm, decoded)


def _number(name: str) -> int:
    text = request.headers.get(name, "")
    if not (text.isascii() and text.isdigit()) or len(text) > 16 or int(text) > MOST_BYTES:  # noqa: PLR2004
        if text.isascii() and text.isdigit():
            raise TooLarge("No file can be that large here.")
        raise _bad(f"Send the header {name} with a whole number of bytes.")
    return int(text)


def _bad(message: str) -> Invalid:
    error = Invalid(message)
    error.status = 400
    return error


def _date(upload: Upload) -> str:
    return upload.expires_at.strftime("%a, %d %b %Y %H:%M:%S GMT")


def _answer(status: int, **headers: Any) -> Response:
    answer = Response(status=status)
    for name, value in headers.items():
        answer.headers[name.replace("_", "-")] = str(value)
    answer.headers["Cache-Control"] = "no-store"
    return answer
