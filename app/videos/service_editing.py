"""The verbs that make a new version of a transcript: edit, import, restore. None commits; the view that calls does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from app import live
from app.db import db
from app.errors import Conflict
from app.lib.ids import new_id
from app.lib.text import pluralise
from app.videos import captions, editing, service_library, service_transcript, statuses
from app.videos import queries_transcript as transcripts
from app.videos import queries_versions as queries
from app.videos.cues import Cue
from app.videos.models import FINAL, Transcript, Video
from app.videos.operations import Operation

MOST_VERSIONS = 200


class Outdated(Conflict):
    """Another version than the one that was changed is shown by now; `current` is it."""

    code = "transcript_changed"

    def __init__(self, current: Transcript) -> None:
        super().__init__(
            f"This transcript was changed meanwhile, in another tab or by another program: version {current.number} is "
            "shown now. Load it, then make your changes again. Nothing was saved."
        )
        self.current = current


def edit_transcript(video: Video, base_id: UUID, operations: Sequence[Operation], note: str = "") -> Transcript:
    """Do the operations to the version `base_id` and show the result as a new version; return what is shown.

    The video keeps its status. Nothing is saved when nothing changes.

    Raises:
        NotFound: there is no transcript yet.
        Outdated: another version is shown by now.
        Refused: an operation cannot be done; nothing is saved.
    """
    video = statuses.get_video(video.owner_id, video.id, locked=True)
    base = transcripts.get_transcript(video)
    if base.id != base_id:
        raise Outdated(base)
    before = transcripts.list_cues(base.id)
    after = editing.apply(before, operations, duration_seconds=video.duration_seconds)
    if after == before:
        return base
    note = note or editing.describe(operations, before, after)
    return _save(video, after, base=base, source="edit", model=base.model, language=base.language, note=note)


def import_captions(video: Video, data: bytes, filename: str = "") -> Transcript:
    """Show a caption file as the newest version of a video's transcript.

    A video that could not be transcribed is completed by it: it is indexed as after a transcription.

    Raises:
        Malformed: the file cannot be read; the message names the line.
        Conflict: there are too many versions that are kept for good.
    """
    found = captions.to_cues(captions.parse(data))
    video = statuses.get_video(video.owner_id, video.id, locked=True)
    if queries.count_kept(video.id) >= MOST_VERSIONS:
        raise Conflict(
            f"{MOST_VERSIONS} transcripts of this video were made or imported already, and all of them are kept. "
            "Restore one of them, or correct the one shown."
        )
    base = transcripts.get_transcript(video) if video.transcript_id else None
    note = f"{pluralise(len(found), 'cue')} from {filename or 'a caption file'}"
    # Without a base: an import owes nothing to what was shown before.
    saved = _save(video, found, base=None, source="import", model="", language=video.language, note=note)
    if base is None and video.status in FINAL:
        service_library.reprocess(video)
    return saved


def restore_version(video: Video, version: Transcript) -> Transcript:
    """Show an old version again, as a new one.

    Raises:
        Conflict: it is the one shown.
    """
    video = statuses.get_video(video.owner_id, video.id, locked=True)
    if video.transcript_id == version.id:
        raise Conflict(f"Version {version.number} is the one shown already.")
    return _save(
        video,
        transcripts.list_cues(version.id),
        base=version,
        source="restore",
        model=version.model,
        language=version.language,
        note=f"Version {version.number} restored",
    )


def _save(video: Video, cues: Sequence[Cue], *, base: Transcript | None, note: str, **facts: Any) -> Transcript:
    """Save a version and show it; the video's row is locked, so numbers and what is shown follow each other."""
    transcript = Transcript(
        id=new_id(),
        video_id=video.id,
        number=transcripts.next_number(video.id),
        base_id=base.id if base else None,
        note=note[:300],
        **facts,
    )
    db.session.add(transcript)
    db.session.flush()
    service_transcript.insert_segments(transcript.id, cues)
    video.transcript_id = transcript.id
    db.session.flush()
    removable = queries.list_removable(video, MOST_VERSIONS)
    if removable:
        db.session.execute(sa.delete(Transcript).where(Transcript.id.in_(removable)))
    live.touch(f"video:{video.id}")
    service_transcript.say_edited(video)
    return transcript
