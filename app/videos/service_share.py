"""Share links: one open link for each video, for whoever has it, until its owner ends it. None of it commits."""

from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from app import log
from app.db import db
from app.lib.clock import now
from app.lib.ids import new_id
from app.videos import queries_share
from app.videos.models import Share, Video

logger = log.get(__name__)


def share(video: Video, *, anew: bool = False) -> tuple[Share, bool]:
    """Open a video to whoever has its link; `anew`: with another link, and the one before ends at once.

    Two requests at once open one link.

    Returns:
        The open share, and whether it is a new one.
    """
    if anew:
        revoke(video)
    made = db.session.scalar(
        insert(Share)
        .values(id=new_id(), owner_id=video.owner_id, video_id=video.id, created_at=now(), visits=0)
        .on_conflict_do_nothing(index_elements=[Share.video_id], index_where=Share.revoked_at.is_(None))
        .returning(Share.id)
    )
    found = queries_share.find_open(video)
    if found is None:  # ended by another request between the two statements: once more, after it
        return share(video)
    if made:
        logger.info("video.shared", video_id=str(video.id), share_id=str(found.id))
    return found, made is not None


def revoke(video: Video) -> bool:
    """End the video's link, page and files alike; tell whether there was one."""
    ended = db.session.scalar(
        sa.update(Share)
        .where(Share.video_id == video.id, Share.revoked_at.is_(None))
        .values(revoked_at=now())
        .returning(Share.id)
    )
    if ended:
        logger.info("video.unshared", video_id=str(video.id), share_id=str(ended))
    return ended is not None


def note_visit(share_id: UUID) -> None:
    """Count one more visit."""
    db.session.execute(
        sa.update(Share).where(Share.id == share_id).values(visits=Share.visits + 1, last_visit_at=now())
    )
