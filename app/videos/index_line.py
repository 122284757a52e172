"""What a video's page says when search does not know the transcript shown yet."""

from __future__ import annotations

from dataclasses import dataclass

from app.videos import queries_reindexing as queries
from app.videos import queries_versions as versions
from app.videos import video_runs
from app.videos.endings import OURS
from app.videos.models import Video


@dataclass(frozen=True)
class IndexLine:
    """Search still knows the words of version `number` (None: of none); `is_following`: that is being changed now.

    `reason` is a sentence on why it could not be changed; empty where nobody knows.
    """

    number: int | None
    is_following: bool
    reason: str = ""


def index_line(video: Video) -> IndexLine | None:
    """Return what to say of an index that is older than the transcript shown; None when there is nothing to say."""
    if video.status != "completed" or not queries.is_outdated(video):
        return None
    served = versions.find_served(video.id)
    number = served.number if served else None
    run = video_runs.find_reindexing(video)
    if run is None or not run.is_final:
        return IndexLine(number, is_following=run is not None)
    error = run.error or {}
    is_for_people = error.get("code") not in (None, OURS)
    return IndexLine(number, is_following=False, reason=str(error.get("message") or "") if is_for_people else "")
