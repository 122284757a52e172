"""What the sandbox has made, made again by a real provider.

video/renew.requested -> renew-videos -> transcribe-video for each, which goes on to embeddings and outline by itself
"""

from __future__ import annotations

import itertools
from typing import Any
from uuid import UUID

from app.engine import Concurrency, Context, NonRetriable, Step, StepError, workflow
from app.videos import events, renewing

Json = dict[str, Any]

# Fewer than a person may have executing at once (jobs/videos.py): what they upload meanwhile has room beside it.
VIDEOS_AT_ONCE = 2


@workflow(
    renewing.WORKFLOW,
    on=events.RENEW_REQUESTED,
    retries=2,
    concurrency=[Concurrency(1, key="event.owner_id")],
    idempotency="event.data.request_id",
)
def renew_videos(ctx: Context, step: Step) -> Json:
    """Transcribe again what the sandbox heard, a few at a time; each keeps what it has until the new one is there."""
    owner_id = ctx.event.owner_id
    if owner_id is None:
        raise NonRetriable("An event about videos needs an owner.")
    video_ids = step.run("list", renewing.list_drafts, owner_id)
    finished = itertools.count(1)

    def renew_some(branch: Step, some: list[str]) -> list[Json]:
        ended = []
        for video_id in some:
            ended.append({"video_id": video_id, **_renew(branch, owner_id, UUID(video_id))})
            _tell(ctx, next(finished), len(video_ids))
        return ended

    # A branch that waits takes no place under a limit, so each branch has a share that it does one after another.
    shares = [share for number in range(VIDEOS_AT_ONCE) if (share := video_ids[number::VIDEOS_AT_ONCE])]
    _tell(ctx, 0, len(video_ids))
    return {"videos": [each for ended in step.map("share", renew_some, shares) for each in ended]}


def _renew(step: Step, owner_id: UUID, video_id: UUID) -> Json:
    """Make one again; what goes wrong is said of this video and the others go on."""
    try:
        found = step.run("look", renewing.look, owner_id, video_id)
        if "skipped" in found:
            return {"outcome": "kept", "why": found["skipped"]}
        step.invoke("transcribe", "transcribe-video", found["payload"], cancel_child=True)
    except StepError as error:
        is_told = error.code.startswith("child_")  # the video itself says why
        return {"outcome": "failed", "why": "" if is_told else error.message}
    return {"outcome": "done", "why": ""}


def _tell(ctx: Context, done: int, total: int) -> None:
    message = f"{done} of {total} videos transcribed again"
    ctx.progress(current_step="transcribe", done=done, total=max(1, total), message=message)
