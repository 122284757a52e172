"""The mails of this room."""

from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa

from app.accounts import queries as accounts
from app.accounts import service as accounts_service
from app.adapters.mailer import compose, mailer
from app.db import db
from app.videos.models import Video
from app.web import absolute_url


def send_notice(owner_id: UUID, video_id: UUID, run_id: str, kind: str, error: str) -> str:
    """Mail the owner that a video is "ready" or has "failed", at most once for each run.

    Returns:
        What happened, for the run page.

    Raises:
        Transient: the mail service cannot take it now.
        Permanent: it refuses it.
    """
    video = db.session.scalar(
        sa.select(Video).where(Video.id == video_id, Video.owner_id == owner_id, Video.deleted_at.is_(None))
    )
    user = accounts.find_user(owner_id)
    if video is None or user is None:
        return "nobody to tell: the video or its owner is gone"
    if not accounts.wants_notice(owner_id, kind):
        return "not wanted"
    mail = compose(
        f"video_{kind}",
        to=user.email,
        headers=accounts_service.notice_headers(owner_id, kind),
        person=user.display_name,
        video=video,
        url=absolute_url("videos.show", video_id=video.id),
        error=error,
        unsubscribe_url=accounts_service.unsubscribe_url(owner_id, kind),
    )
    mailer().send(mail, idempotency_key=f"video-{kind}/{run_id}")
    return "sent"
