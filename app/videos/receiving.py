"""Large request bodies: forms with files that go straight to the disk of uploads, and their forgery check.

The check that every other form gets reads the whole body first, so these views make it themselves
(`checks_csrf_itself`, then `check_csrf`).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar

from flask import request
from flask_login import current_user
from flask_wtf.csrf import validate_csrf
from gunicorn.http.errors import ParseException
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.formparser import FormDataParser
from wtforms import ValidationError

from app.db import end_reading
from app.errors import Invalid
from app.videos import service_uploads
from app.videos.captions import MAX_BYTES as MOST_CAPTION_BYTES
from app.videos.details import clean_filename
from app.videos.models import Upload
from app.web import bearer_key, settings

STALLED_SECONDS = 60.0  # a connection that sends nothing for so long is given up, and with it its lock
FORM_BYTES = 1 << 20  # room for the fields and boundaries around the files
BROKEN = (
    ClientDisconnected,
    OSError,
    ParseException,
)  # how a body ends early: as Werkzeug, the socket, gunicorn say it

View = TypeVar("View", bound=Callable[..., Any])


@dataclass
class Received:
    """A form with files: its fields, the video as an upload, and the captions as a local file."""

    fields: dict[str, str] = field(default_factory=dict)
    upload: Upload | None = None
    captions: Path | None = None
    captions_name: str = ""


def checks_csrf_itself(view: View) -> View:
    """Mark a view whose body is too large to be read for the usual check."""
    view.is_csrf_exempt = True  # type: ignore[attr-defined]
    return view


def check_csrf(token: str | None = None) -> None:
    """Refuse a request of a browser session without its token (header X-CSRFToken or the form's field).

    Raises:
        Invalid: 400; the message says to reload the page.
    """
    if bearer_key() is not None:
        return  # no browser sends a key on its own
    try:
        validate_csrf(request.headers.get("X-CSRFToken") or token)
    except ValidationError:
        error = Invalid("This page was open for too long or came from elsewhere. Reload it and try again.")
        error.status = 400
        raise error from None


def allow_body(size_bytes: int) -> None:
    """Let this request's body be as large as that, and give up on a sender that stalls."""
    # One more than it is: where the server marks the body's end itself (gunicorn does), Werkzeug takes reaching
    # the limit for exceeding it.
    request.max_content_length = size_bytes + 1
    connection = request.environ.get("gunicorn.socket")
    if connection is not None:
        connection.settimeout(STALLED_SECONDS)


@contextmanager
def received_form() -> Iterator[Received]:
    """Read a multipart form: the part `file` becomes an upload, `captions` a file that lives inside the block.

    Memory does not grow with the files. Everything is removed when the block fails before the upload was used.

    Raises:
        TooLarge, TooMany, StorageFull: as `service_uploads.create`.
        Invalid: 400; the body breaks off or is no form.
    """
    length = request.content_length
    if length is None:
        raise _bad("Send the header Content-Length.")
    service_uploads.check_length(max(0, length - FORM_BYTES - MOST_CAPTION_BYTES))
    allow_body(length)
    folder = Path(tempfile.mkdtemp(prefix="form-", dir=service_uploads.folder()))
    try:
        yield _parse(folder, length)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _parse(folder: Path, length: int) -> Received:
    opened: list[IO[bytes]] = []

    def new_part(*_: object, **__: object) -> IO[bytes]:
        if len(opened) >= 2:  # noqa: PLR2004  (a video and its captions)
            raise _bad("Send one file and at most one caption file.")
        opened.append((folder / f"part-{len(opened)}").open("w+b"))
        return opened[-1]

    # The body is longer than the file in it, so a file as large as allowed must not be refused for its envelope.
    reserved = service_uploads.create(current_user.id, min(length, settings().max_upload_bytes), "file")
    end_reading()
    parser = FormDataParser(stream_factory=new_part, max_form_memory_size=100_000, max_form_parts=50)
    try:
        _, fields, files = parser.parse(request.stream, request.mimetype, length, request.mimetype_params)
        return _sort(reserved, fields, files)
    except (RequestEntityTooLarge, ClientDisconnected, ConnectionError, TimeoutError, ValueError) as error:
        service_uploads.forget(reserved)
        raise _bad("The form could not be read to its end. Send it again.") from error
    except BaseException:
        service_uploads.forget(reserved)
        raise
    finally:
        for part in opened:
            part.close()


def _sort(reserved: Upload, fields: MultiDict[str, str], files: MultiDict[str, FileStorage]) -> Received:
    found = Received({name: value[:20_000] for name, value in fields.items()})
    for name, part in files.items():
        part.stream.close()
        path = Path(part.stream.name)
        if not part.filename and not path.stat().st_size:
            continue  # the browser's way of saying that no file was chosen
        if name == "captions":
            if path.stat().st_size > MOST_CAPTION_BYTES:
                raise Invalid("The caption file is too large; 5 MB are allowed.", {"captions": "Send at most 5 MB."})
            found.captions, found.captions_name = path, clean_filename(part.filename)
        elif name == "file":
            found.upload = service_uploads.fill(reserved, path, clean_filename(part.filename))
    if found.upload is None:
        service_uploads.forget(reserved)
    return found


def _bad(message: str) -> Invalid:
    error = Invalid(message)
    error.status = 400
    return error
