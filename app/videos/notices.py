"""The mails of this room: what a person is to be told of, gathered until nothing of theirs is under way, in one mail.

Each ended run is a row, written with what ended it. The functions below `note` are steps of send-video-notice.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from app import engine
from app.accounts import queries as accounts
from app.accounts import service as accounts_service
from app.adapters.mailer import Mail, compose, mailer
from app.db import db
from app.lib.clock import now
from app.lib.ids import new_id
from app.videos.models import FINAL, Notice, Video
from app.web import absolute_url

WORKFLOW = "send-video-notice"
PATIENCE = timedelta(minutes=30)
MOST_LISTED = 50  # of a kind, in one digest


def note(video: Video, run_id: UUID, kind: str, error: str = "") -> None:
    """Write down that the owner is to be told of the end of a run ("ready" or "failed"), once for each."""
    values = {"id": new_id(), "owner_id": video.owner_id, "video_id": video.id, "run_id": run_id, "kind": kind}
    db.session.execute(
        insert(Notice)
        .values(**values, error=error, created_at=now())
        .on_conflict_do_nothing(index_elements=[Notice.run_id, Notice.kind])
    )


def look(owner_id: UUID) -> dict[str, Any]:
    """Tell whether a mail may go out.

    Returns:
        `{wait_seconds, since, is_left}`: how long to wait at most for the person's other videos (0: not at all), the
        moment of this look, and whether a later run is gathering ends and looks again itself.
    """
    oldest = db.session.scalar(sa.select(sa.func.min(Notice.created_at)).where(_is_unsent(owner_id)))
    others = sa.select(sa.exists().where(Video.owner_id == owner_id, Video.deleted_at.is_(None), _is_under_way()))
    has_to_wait = oldest is not None and bool(db.session.scalar(others))
    rest = max(0.0, (oldest + PATIENCE - now()).total_seconds()) if oldest and has_to_wait else 0.0
    gathering = rest > 0 and engine.list_runs(owner_id=owner_id, workflow=WORKFLOW, status="debounced", limit=1)
    since: datetime = db.session.scalars(sa.select(sa.func.engine_now())).one()  # by the clock that waits go by
    return {"wait_seconds": rest, "since": since.isoformat(), "is_left": bool(gathering)}


def collect(owner_id: UUID) -> dict[str, str] | None:
    """Take everything that the person has not been told of for one mail, so that no other run tells of it, too.

    Returns:
        `{taken_at, key}`: by which time the rows are found again, and the mail's idempotency key; None: nothing is.
    """
    moment = now()
    taken = db.session.execute(
        sa.update(Notice).where(_is_unsent(owner_id)).values(sent_at=moment).returning(Notice.kind, Notice.run_id)
    ).all()
    if not taken:
        return None
    key = f"video-{taken[0].kind}/{taken[0].run_id}" if len(taken) == 1 else f"videos-digest/{new_id()}"
    return {"taken_at": moment.isoformat(), "key": key}


def send(owner_id: UUID, taken_at: str, key: str) -> str:
    """Mail the owner what was taken at that moment, at most once for each key.

    Left out are videos that were deleted meanwhile and kinds that are not wanted; of a video that failed and was ready
    after all, only the last is told.

    Returns:
        What happened, for the run page.

    Raises:
        Transient: the mail service cannot take it now.
        Permanent: it refuses it.
    """
    user = accounts.find_user(owner_id)
    latest = _latest(owner_id, datetime.fromisoformat(taken_at))
    if user is None or not latest:
        return "nobody to tell: the videos or their owner are gone"
    wanted = accounts.list_wanted_notices(owner_id)
    told = [(notice, video) for notice, video in latest if notice.kind in wanted]
    if not told:
        return "not wanted"
    mail = _mail_of_one(user, *told[0]) if len(told) == 1 else _digest(user, told)
    mailer().send(mail, idempotency_key=key)
    return "sent"


def _mail_of_one(user: Any, notice: Notice, video: Video) -> Mail:
    return compose(
        f"video_{notice.kind}",
        to=user.email,
        headers=accounts_service.notice_headers(user.id, notice.kind),
        person=user.display_name,
        video=video,
        url=_page_of(video),
        error=notice.error,
        unsubscribe_url=accounts_service.unsubscribe_url(user.id, notice.kind),
    )


def _digest(user: Any, told: Sequence[tuple[Notice, Video]]) -> Mail:
    lines: dict[str, list[dict[str, str]]] = {"ready": [], "failed": []}
    for notice, video in told:
        lines[notice.kind].append({"title": video.title, "url": _page_of(video), "error": notice.error})
    kinds = [kind for kind, found in lines.items() if found]
    about = kinds[0] if len(kinds) == 1 else accounts_service.EVERY_KIND
    return compose(
        "videos_digest",
        to=user.email,
        headers=accounts_service.notice_headers(user.id, about),
        person=user.display_name,
        ready=lines["ready"],
        failed=lines["failed"],
        most=MOST_LISTED,
        library_url=absolute_url("videos.library"),
        unsubscribe_url=accounts_service.unsubscribe_url(user.id, about),
    )


def _latest(owner_id: UUID, taken_at: datetime) -> list[tuple[Notice, Video]]:
    """Return the last notice of each video that is still there, in the order in which they ended."""
    rows = db.session.execute(
        sa.select(Notice, Video)
        .join(Video, Video.id == Notice.video_id)
        .where(Notice.owner_id == owner_id, Notice.sent_at == taken_at, Video.deleted_at.is_(None))
        .order_by(Notice.created_at, Notice.id)
    )
    by_video = {notice.video_id: (notice, video) for notice, video in rows}
    return sorted(by_video.values(), key=lambda pair: (pair[0].created_at, pair[0].id))


def _page_of(video: Video) -> str:
    return absolute_url("videos.show", video_id=video.id)


def _is_unsent(owner_id: UUID) -> sa.ColumnElement[bool]:
    return (Notice.owner_id == owner_id) & Notice.sent_at.is_(None)


def _is_under_way() -> sa.ColumnElement[bool]:
    return Video.status.not_in(FINAL)
