"""How a file becomes a video: looked at in the media child, stored, and announced with its rows in one commit."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import sqlalchemy as sa

from app import engine, live, log
from app.adapters.media import TOO_LARGE_INSIDE, Probe, Unusable, media
from app.adapters.storage import StorageFull, storage, telling_when_full
from app.db import db, end_reading, on_rollback, separately
from app.errors import Conflict, NotFound
from app.lib.ids import new_id
from app.lib.text import duration
from app.videos import captions, events, links, playback, queries, rendering, service_uploads, text_tracks, turns
from app.videos.details import Details, title_of
from app.videos.models import Upload, Video
from app.web import settings

logger = log.get(__name__)


class AlreadyThere(Conflict):
    """The person has a video with the same content; `video` is it."""

    code = "already_there"

    def __init__(self, video: Video) -> None:
        super().__init__(f"You have this file already: “{video.title}”. Open that one, or add this one as well.")
        self.video = video


@telling_when_full()
def accept_file(
    owner_id: UUID,
    path: Path,
    filename: str,
    details: Details,
    captions_path: Path | None = None,
    *,
    video_id: UUID | None = None,
) -> Video:
    """Make a video of the file at `path`, which is moved away, and send `video/uploaded` with the caller's commit.

    Where browsers do not play it, a copy that they play is asked for as well.

    The file is looked at first, outside of any transaction. If the commit fails, what was stored is removed; a
    process that dies before it leaves files that `service_uploads.remove_expired` finds by the upload's `video_id`.

    Args:
        owner_id: whose video it becomes.
        path: the file, on the disk of the stored files if it is to be renamed and not copied.
        filename: what the person calls it, cleaned; only shown.
        details: title, language, and whether the same content may be there twice.
        captions_path: an SRT or WebVTT file that belongs to it.
        video_id: the id that the video shall have.

    Raises:
        Unusable: not media, damaged, no sound, empty, or too long; the message says what to do.
        AlreadyThere: the same content is there.
        BeingAdded: another request is making a video of the same content.
        StorageFull: no room; nothing is stored.
        Malformed: the captions cannot be read; the message names the line.
    """
    if captions_path is not None:
        captions.parse(captions_path.read_bytes())
    found = media().probe(path)
    _refuse_too_long(found)
    with ExitStack() as stack:
        if not details.keep_both:
            stack.enter_context(turns.turn(f"content-{owner_id}-{found.content_hash[:32]}"))
            _refuse_second(owner_id, found)
        video = _row(owner_id, filename, details, found, video_id or new_id())
        _store(video, path, found, captions_path)
        turns.until_the_end("content", stack.pop_all().close)  # only then does the next one find this video
    db.session.add(video)
    engine.send(events.UPLOADED, events.payload(video, new_id()), owner_id=owner_id)
    if not playback.browsers_play(found):
        rendering.ask(video)
    live.touch(f"videos:{owner_id}")
    logger.info("video.accepted", video_id=str(video.id), seconds=found.duration_seconds, bytes=found.size_bytes)
    return video


def accept_upload(upload: Upload, details: Details, captions_path: Path | None = None) -> Video:
    """Make a video of a finished upload; called again, return the video that it has become.

    What can never become a video, or finds the disk full, is thrown away at once; when the same content is there, the
    upload is kept so that the person may still add it.

    Raises:
        Conflict: bytes are missing, or are still coming in.
        NotFound: its video was deleted, or the upload forgotten meanwhile.
        Unusable, AlreadyThere, BeingAdded, StorageFull, Malformed: as `accept_file`.
    """
    upload_id = upload.id
    end_reading()  # a turn may have to be waited for, and no connection be held meanwhile
    with ExitStack() as stack:
        stack.enter_context(turns.turn(f"making-{upload_id}"))  # another tab may be at it
        if not queries.has_upload(upload_id):
            raise NotFound("There is no such upload any more. Upload the file again.")
        db.session.refresh(upload)
        if upload.video_id and (made := queries.find(upload.video_id)):
            return made
        if service_uploads.has_become_a_video(upload):
            raise NotFound("The video of this upload was deleted. Upload the file again.")
        video = _make(upload, details, captions_path)
        turns.until_the_end("making", stack.pop_all().close)
        return video


def _make(upload: Upload, details: Details, captions_path: Path | None) -> Video:
    with service_uploads.locked(upload):
        if not service_uploads.is_complete(upload):
            raise Conflict("This upload is not finished. Send the missing bytes first.")
        video_id = upload.video_id or new_id()  # of a try that failed: what it may have stored is stored over
        with separately() as session:
            session.execute(sa.update(Upload).where(Upload.id == upload.id).values(video_id=video_id))
        path = service_uploads.path_of(upload)
        try:
            return accept_file(upload.owner_id, path, upload.filename, details, captions_path, video_id=video_id)
        except (Unusable, StorageFull):
            service_uploads.forget(upload)
            raise


def _refuse_too_long(found: Probe) -> None:
    most = settings().max_duration_seconds
    if found.duration_seconds > most:
        raise Unusable(
            "too-long",
            f"This file is {duration(found.duration_seconds)} long; at most {duration(most)} are allowed. "
            "Cut it into parts and upload those.",
        )


def _refuse_second(owner_id: UUID, found: Probe) -> None:
    same = queries.find_same_content(owner_id, found.content_hash)
    if same is not None:
        raise AlreadyThere(same)


def _row(owner_id: UUID, filename: str, details: Details, found: Probe, video_id: UUID) -> Video:
    return Video(
        id=video_id,
        owner_id=owner_id,
        title=details.title or title_of(filename),
        original_filename=filename,
        language=details.language,
        vocabulary=details.vocabulary,
        text_tracks=text_tracks.listed(found.subtitles),
        status="pending",
        storage_key=f"{links.folder(owner_id, video_id)}/source.{found.extension}",
        media_type=found.media_type,
        size_bytes=found.size_bytes,
        content_hash=found.content_hash,
        duration_seconds=found.duration_seconds,
        container=found.container,
        video_codec=found.video_codec,
        audio_codec=found.audio_codec,
        width=found.width,
        height=found.height,
    )


def _store(video: Video, path: Path, found: Probe, captions_path: Path | None) -> None:
    prefix = links.folder(video.owner_id, video.id)
    try:
        if found.video_codec:
            video.poster_key = _store_poster(path, f"{prefix}/poster.jpg")
        if captions_path is not None:
            video.captions_key = f"{prefix}/captions.{_captions_kind(captions_path)}"
            storage().put_path(video.captions_key, captions_path)
        storage().put_path(video.storage_key, path, move=True)
    except BaseException:
        storage().delete_prefix(prefix)
        raise
    on_rollback(f"files-of-{video.id}", lambda: storage().delete_prefix(prefix))


def _store_poster(path: Path, key: str) -> str | None:
    with tempfile.TemporaryDirectory(prefix="throughline-") as folder:
        picture = Path(folder) / "poster.jpg"
        try:
            if not media().poster(path, picture):
                return None
        except Unusable as error:
            if error.code == TOO_LARGE_INSIDE:
                raise  # whoever plays it would meet the same
            return None  # the sound is fine, and that is what counts
        storage().put_path(key, picture)
    return key


def _captions_kind(path: Path) -> str:
    with path.open("rb") as file:
        return "vtt" if b"WEBVTT" in file.read(32) else "srt"
