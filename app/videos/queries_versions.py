"""Reads of the versions of a transcript."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from app.db import db
from app.errors import NotFound
from app.lib.ids import parse_id
from app.videos import queries_transcript as transcripts
from app.videos.cues import Cue
from app.videos.differences import Hunk, compare
from app.videos.models import Chunk, Segment, Transcript, Video


@dataclass(frozen=True)
class Version:
    """One version for the list: `cues` is how many it has."""

    id: UUID
    number: int
    source: str
    note: str
    model: str
    created_at: datetime
    base_id: UUID | None
    cues: int
    is_current: bool


def list_versions(video: Video) -> list[Version]:
    """Return the versions of a video's transcript, newest first."""
    count = sa.select(sa.func.count()).where(Segment.transcript_id == Transcript.id).scalar_subquery()
    rows = db.session.execute(
        sa.select(Transcript, count).where(Transcript.video_id == video.id).order_by(Transcript.number.desc())
    )
    return [
        Version(
            each.id,
            each.number,
            each.source,
            each.note,
            each.model,
            each.created_at,
            each.base_id,
            cues,
            is_current=each.id == video.transcript_id,
        )
        for each, cues in rows
    ]


def get_version(video: Video, transcript_id: UUID | str | None) -> Transcript:
    """Return one version.

    Raises:
        NotFound: this video has no such version; it may have been removed since.
    """
    identity = parse_id(transcript_id) if isinstance(transcript_id, str) else transcript_id
    found = transcripts.get_transcript_of(video.id, identity) if identity else None
    if found is None:
        raise NotFound("There is no such version of this transcript. Look at the list of versions.")
    return found


def list_changes(old: Transcript | None, new: Transcript) -> list[Hunk]:
    """Return what differs between two versions, word by word; `old` None: everything is new."""
    return compare(transcripts.list_cues(old.id) if old else [], transcripts.list_cues(new.id))


def find_base(transcript: Transcript) -> Transcript | None:
    """Return the version that this one is to be compared with: its base, or where that is gone, the one before it."""
    base = transcript.base_id and transcripts.get_transcript_of(transcript.video_id, transcript.base_id)
    return base or db.session.scalar(
        sa.select(Transcript)
        .where(Transcript.video_id == transcript.video_id, Transcript.number < transcript.number)
        .order_by(Transcript.number.desc())
        .limit(1)
    )


def find_original(video: Video) -> Transcript | None:
    """Return the newest version that nobody has edited: what "Back to the original" restores."""
    return db.session.scalar(
        sa.select(Transcript)
        .where(Transcript.video_id == video.id, Transcript.source.in_(("model", "captions", "import")))
        .order_by(Transcript.number.desc())
        .limit(1)
    )


def count_kept(video_id: UUID) -> int:
    """Return how many versions of a video are originals, which are never removed."""
    kept = sa.select(sa.func.count()).where(
        Transcript.video_id == video_id, Transcript.source.in_(("model", "captions", "import"))
    )
    return db.session.scalar(kept) or 0


def list_removable(video: Video, most: int) -> Sequence[UUID]:
    """Return the oldest edits beyond `most` versions: neither shown, nor what any chunk was cut from."""
    count = db.session.scalar(sa.select(sa.func.count()).where(Transcript.video_id == video.id)) or 0
    return db.session.scalars(
        sa.select(Transcript.id)
        .where(
            Transcript.video_id == video.id,
            Transcript.source.in_(("edit", "restore")),
            Transcript.id != video.transcript_id,
            ~sa.exists().where(Chunk.transcript_id == Transcript.id),
        )
        .order_by(Transcript.number)
        .limit(max(0, count - most))
    ).all()


def find_served(video_id: UUID) -> Transcript | None:
    """Return the version that the served chunks were cut from."""
    return db.session.scalar(
        sa.select(Transcript)
        .where(Transcript.id.in_(sa.select(Chunk.transcript_id).where(Chunk.video_id == video_id, Chunk.is_served)))
        .order_by(Transcript.number.desc())
        .limit(1)
    )


def as_dict(transcript: Transcript) -> dict[str, Any]:
    """Return a version with its cues as docs/reference/transcript-editing.md has them."""
    return {
        "transcript_id": str(transcript.id),
        "number": transcript.number,
        "note": transcript.note,
        "source": transcript.source,
        "language": transcript.language,
        "cues": [cue_as_dict(index, cue) for index, cue in enumerate(transcripts.list_cues(transcript.id))],
    }


def cue_as_dict(index: int, cue: Cue) -> dict[str, Any]:
    """Return one cue of it."""
    return {
        "index": index,
        "start_seconds": cue.start,
        "end_seconds": cue.end,
        "text": cue.text,
        "speaker": cue.speaker,
        "flags": list(cue.flags),
        "words": [[word.text, word.start, word.end, word.confidence] for word in cue.words],
    }
