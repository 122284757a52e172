"""What happens beside the transcript: the waveform of a new video, and the end of a deleted one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from app.engine import workflow
from app.videos import events, service


@workflow("draw-waveform", on=events.UPLOADED, retries=1, subject="video:{event.data.video_id}")
def draw_waveform(ctx: Any, step: Any) -> dict[str, Any]:
    """Save the peaks of a new video's sound; without them the player has a plain bar, so nobody waits for this."""
    return {"points": step.run("draw", service.save_waveform, ctx.event.owner_id, UUID(ctx.event.data["video_id"]))}


@workflow("purge-video", on=events.DELETED, retries=8)
def purge_video(ctx: Any, step: Any) -> dict[str, Any]:
    """Remove a deleted video for good, 30 seconds after; unless it was taken back by then.

    One that was taken back and deleted anew meanwhile is put off once more, by its step.
    """
    about = (ctx.event.owner_id, UUID(ctx.event.data["video_id"]))
    step.sleep("undo", service.UNDO + service.PURGE_GRACE)
    files = step.run("remove-files", service.purge_files, *about)
    if files == "kept":
        return {"files": files}
    return {"files": files, "videos": step.run("remove-rows", service.purge_rows, *about)}
