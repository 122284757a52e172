"""What people do to many of their videos at once, and what became of each. None of it commits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import sqlalchemy as sa

from app import engine, live
from app.db import db
from app.errors import Conflict
from app.lib.clock import now
from app.lib.ids import new_id
from app.lib.text import pluralise
from app.videos import events, prices, rendering, service_library, service_transcript, spoken, text_tracks
from app.videos.details import MOST_TAGS
from app.videos.models import FINAL, Video

MOST_VIDEOS = 1_000  # of one request


@dataclass
class Outcome:
    """What became of many videos: those it was done to, and the others by the reason."""

    done: list[UUID] = field(default_factory=list)
    refused: dict[str, list[UUID]] = field(default_factory=dict)

    def refuse(self, reason: str, video: Video) -> None:
        """Say why nothing was done to a video: the end of a sentence that begins with a number."""
        self.refused.setdefault(reason, []).append(video.id)

    def sentence(self, done: str) -> str:
        """Say it plainly: "12 videos tried again; 3 were not failed."; `done` follows the number."""
        parts = [f"{pluralise(len(self.done), 'video')} {done}"] if self.done or not self.refused else []
        parts += [f"{len(ids):,} {reason}" for reason, ids in self.refused.items()]
        return "; ".join(parts) + ("." if self.done else ". Nothing was changed.")


def retry(videos: Sequence[Video]) -> Outcome:
    """Let every one that failed or was cancelled go on where it stopped."""
    return _each(videos, service_library.retry, "had neither failed nor been cancelled")


def cancel(videos: Sequence[Video]) -> Outcome:
    """Stop work on every one that is under way."""
    return _each(videos, service_library.cancel, "had nothing under way")


def transcribe(videos: Sequence[Video]) -> Outcome:
    """Make a new transcript from the sound of every one that is not under way."""

    def again(video: Video) -> None:
        service_library.transcribe_again(video, text_tracks.SOUND)

    known = [video for video in videos if not spoken.refusal(video.language)]
    outcome = _each(known, again, "under way already")
    for video in videos:
        if video not in known:
            outcome.refuse("in a language that the model set now does not know", video)
    return outcome


def index(videos: Sequence[Video], owner_id: UUID, *, is_forced: bool = False) -> Outcome:
    """Embed again every one that has a transcript, as one batch; `is_forced`: also those whose index is up to date."""
    outcome = Outcome()
    for video in videos:
        if video.transcript_id is None:
            outcome.refuse("without a transcript", video)
        else:
            outcome.done.append(video.id)
    if outcome.done:
        service_transcript.request_reprocess(owner_id, outcome.done, force=is_forced)
    return outcome


def add_tag(videos: Sequence[Video], tag: str) -> Outcome:
    """Give every one a tag."""
    outcome = Outcome()
    for video in videos:
        if tag in video.tags:
            outcome.refuse("had it", video)
        elif len(video.tags) >= MOST_TAGS:
            outcome.refuse(f"with {MOST_TAGS} tags, which is the most", video)
        else:
            service_library.change_video(video, {"tags": [*video.tags, tag]})
            outcome.done.append(video.id)
    return outcome


def remove_tag(videos: Sequence[Video], tag: str) -> Outcome:
    """Take a tag away from every one that has it."""
    outcome = Outcome()
    for video in videos:
        if tag not in video.tags:
            outcome.refuse("without it", video)
        else:
            service_library.change_video(video, {"tags": [each for each in video.tags if each != tag]})
            outcome.done.append(video.id)
    return outcome


def delete(videos: Sequence[Video]) -> Outcome:
    """Remove all from sight in one moment, so that one undo takes them back; they go for good 30 s later."""
    moment = now()
    for video in videos:
        is_active = video.status not in FINAL or video.rendition_status == "making"
        video.deleted_at = moment
        if is_active:
            service_library.stop(video, "the video was deleted")
        engine.send(events.DELETED, events.payload(video, new_id()), owner_id=video.owner_id)
        live.touch(f"video:{video.id}")
        live.touch(f"videos:{video.owner_id}")
    return Outcome([video.id for video in videos])


def restore(videos: Sequence[Video]) -> int:
    """Take deletions back; return how many there were.

    Raises:
        Conflict: the 30 s are over.
    """
    named = [video.id for video in videos]
    changed = db.session.execute(
        sa.update(Video)
        .where(Video.id.in_(named), Video.deleted_at > now() - service_library.UNDO)
        .values(deleted_at=None)
    )
    count = int(changed.rowcount)  # type: ignore[attr-defined]
    if not count:
        raise Conflict("It is too late to take this back: it is gone. Upload the file again.")
    for video in videos:
        rendering.take_up(video)
        live.touch(f"video:{video.id}")
        live.touch(f"videos:{video.owner_id}")
    return count


def transcription_price(videos: Sequence[Video]) -> int:
    """Return what it costs about, in micro-USD, to transcribe again those that are not under way."""
    return sum(prices.audio_price(video.duration_seconds) for video in videos if video.status in FINAL)


def indexing_price(videos: Sequence[Video]) -> int:
    """Return what it costs about, in micro-USD, to embed again those that have a transcript."""
    seconds = sum(video.duration_seconds for video in videos if video.transcript_id)
    return prices.embedding_price(prices.spoken_tokens(seconds))


def _each(videos: Sequence[Video], verb: Callable[[Video], object], reason: str) -> Outcome:
    outcome = Outcome()
    for video in videos:
        try:
            verb(video)
            outcome.done.append(video.id)
        except Conflict:
            outcome.refuse(reason, video)
    return outcome
