"""Mails about videos: one for everything of a person that ended together."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from app.engine import Context, Debounce, NonRetriable, Step, workflow
from app.videos import events, notices

# After one of these nothing else of the person may be under way. An end is told of by the later run that it starts.
ENDS = [events.READY, events.FAILED, events.DELETED, "run/cancelled"]


@workflow(notices.WORKFLOW, on=[events.READY, events.FAILED], debounce=Debounce("5s", timeout="30s"), retries=4)
def send_video_notice(ctx: Context, step: Step) -> dict[str, Any]:
    """Tell the owner what is ready and what failed, in one mail when nothing else of theirs is under way.

    That is waited for at most half an hour, counted from the first end that they do not know of.
    """
    if ctx.event.owner_id is None:
        raise NonRetriable("An event about videos needs an owner.")
    if _is_left_to_a_later_run(step, ctx.event.owner_id):
        return {"mail": "left to the run that tells of a later one, too"}
    taken = step.run("collect", notices.collect, ctx.event.owner_id)
    if taken is None:
        return {"mail": "nothing to tell"}
    return {"mail": step.run("send-mail", notices.send, ctx.event.owner_id, taken["taken_at"], taken["key"])}


def _is_left_to_a_later_run(step: Step, owner_id: UUID) -> bool:
    while (seen := step.run("look", notices.look, owner_id))["wait_seconds"]:
        if seen["is_left"]:
            return True
        since = datetime.fromisoformat(seen["since"])
        if step.wait_for_event("an-end", ENDS, timeout=seen["wait_seconds"], since=since) is None:
            return False
    return False
