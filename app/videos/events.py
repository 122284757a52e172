"""The events of this room: their names and what they carry.

Every event has a listener and every listener's event is sent somewhere (tests/videos/test_events.py). The owner of
an event is set by whoever sends it from the session or key; `user_id` repeats it for readers of the payload.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NotRequired, Protocol, TypedDict
from uuid import UUID

UPLOADED = "video/uploaded"  # service.accept_file -> transcribe-video, draw-waveform
TRANSCRIBE_REQUESTED = "video/transcribe.requested"  # retry, transcribe again -> transcribe-video
TRANSCRIPTION_COMPLETED = "video/transcription.completed"  # transcribe-video -> generate-embeddings, describe-video
TRANSCRIPT_EDITED = "video/transcript.edited"  # edit, import, restore -> reindex-transcript
CHUNK_REQUESTED = "video/chunk.requested"  # "chunk again" -> generate-embeddings
BATCH_REPROCESS = "video/embeddings.batch-reprocess"  # bulk action, API, command line -> reprocess-embeddings
RENEW_REQUESTED = "video/renew.requested"  # "transcribe again" of all that the sandbox made -> renew-videos
DESCRIBE_REQUESTED = "video/describe.requested"  # "describe again" -> describe-video
RENDITION_REQUESTED = "video/rendition.requested"  # an upload that browsers do not play, "try again" -> make-rendition
DELETED = "video/deleted"  # service_library.delete -> purge-video
READY = "video/ready"  # generate-embeddings -> send-video-notice
FAILED = "video/failed"  # the on_failure hooks -> send-video-notice

PIPELINE = ("transcribe-video", "generate-embeddings")  # the workflows that give a video its statuses


class VideoPayload(TypedDict):
    """What every event about one video carries; ids as text."""

    video_id: str
    user_id: str
    storage_key: str
    original_filename: str
    language: str
    request_id: str  # the same request never starts a second run
    text_from: NotRequired[str]  # what the transcript is made of: text_tracks.py
    ignore_captions: NotRequired[bool]  # as text_from "sound", in events of older versions
    from_final: NotRequired[bool]  # begin although the video is finished: nobody has set it to pending before
    transcript_id: NotRequired[str]
    force: NotRequired[bool]  # chunk again although this transcript has embeddings of this model
    run_id: NotRequired[str]  # of READY and FAILED: the run that ended
    wants_notice: NotRequired[bool]
    error: NotRequired[str]  # of FAILED: the sentence for the person


class BatchPayload(TypedDict):
    """Which videos get new embeddings: those named, or all of the owner's when the list is empty."""

    user_id: str
    video_ids: list[str]
    request_id: str
    force: bool  # also those that have embeddings of the model set now


class _Video(Protocol):
    """What an event tells of a video (models may import events, so events do not import models)."""

    @property
    def id(self) -> UUID: ...
    @property
    def owner_id(self) -> UUID: ...
    @property
    def storage_key(self) -> str: ...
    @property
    def original_filename(self) -> str: ...
    @property
    def language(self) -> str: ...


def text_from(data: Mapping[str, Any] | None) -> str:
    """Return what the transcript is to be made of by the payload `data` (text_tracks.py)."""
    given = data or {}
    return str(given.get("text_from") or ("sound" if given.get("ignore_captions") else ""))


def payload(video: _Video, request_id: object, **more: Any) -> dict[str, Any]:
    """Return the payload (VideoPayload) of an event about `video`."""
    base = VideoPayload(
        video_id=str(video.id),
        user_id=str(video.owner_id),
        storage_key=video.storage_key,
        original_filename=video.original_filename,
        language=video.language,
        request_id=str(request_id),
    )
    return {**base, **more}
