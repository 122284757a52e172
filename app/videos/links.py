"""Where a video's files lie, and signed addresses under which a provider may fetch them for a while."""

from __future__ import annotations

import time
from uuid import UUID

from itsdangerous import BadData, URLSafeSerializer

from app.lib.ids import parse_id
from app.videos.models import Video
from app.web import absolute_url, settings

KINDS = ("source", "poster", "captions")


def folder(owner_id: UUID, video_id: UUID) -> str:
    """Return the storage prefix of all files of a video."""
    return f"users/{owner_id}/videos/{video_id}"


def key_of(video: Video, kind: str) -> str | None:
    """Return the storage key of one of a video's files, None when it has none of that kind."""
    return {
        "source": video.storage_key,
        "rendition": video.rendition_key,
        "poster": video.poster_key,
        "captions": video.captions_key,
    }.get(kind)


def page_url(video: Video) -> str:
    """Return the absolute address of a video's page."""
    return absolute_url("videos.show", video_id=video.id)


def signed_url(video: Video, kind: str = "source", seconds: int = 3600) -> str:
    """Return an absolute address of a file that anybody who knows it may read for `seconds`."""
    token = _serializer().dumps([str(video.id), kind, int(time.time()) + seconds])
    return absolute_url("videos.signed_media", token=token)


def read_token(token: str) -> tuple[UUID, str] | None:
    """Return the video and the kind of file that a signed address names, None when it is forged or too old."""
    try:
        identity, kind, until = _serializer().loads(token)
    except (BadData, ValueError, TypeError):
        return None
    video_id = parse_id(identity)
    return (video_id, kind) if video_id and kind in KINDS and until > time.time() else None


def _serializer() -> URLSafeSerializer:
    return URLSafeSerializer(settings().secret_key, salt="videos.media")
