"""Mails about videos: one workflow, one mail for each run that ended."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from app.engine import Context, NonRetriable, Step, workflow
from app.videos import events, notices


@workflow("send-video-notice", on=[events.READY, events.FAILED], retries=4)
def send_video_notice(ctx: Context, step: Step) -> dict[str, Any]:
    """Tell the owner that a video is ready or has failed, unless they do not want to know."""
    data = ctx.event.data
    if not data.get("wants_notice", True):
        return {"mail": "not wanted for this run"}
    kind = "ready" if ctx.event.name == events.READY else "failed"
    if ctx.event.owner_id is None:
        raise NonRetriable("An event about videos needs an owner.")
    about = (ctx.event.owner_id, UUID(data["video_id"]), data["run_id"])
    return {"mail": step.run("send-mail", notices.send_notice, *about, kind, data.get("error", ""))}
