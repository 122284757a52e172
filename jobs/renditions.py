"""A copy that browsers play, of files that they do not: video/rendition.requested -> make-rendition."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from app.engine import Concurrency, Context, NonRetriable, Outcome, Step, workflow
from app.videos import events, rendering, video_runs

Json = dict[str, Any]


def make_rendition_failed(_ctx: Context, outcome: Outcome) -> None:
    """Say on the page why there is no copy; transcript and search do not depend on it."""
    about = (outcome.event.owner_id, UUID(outcome.event.data["video_id"]))
    rendering.end_badly(*about, outcome.run_id, outcome.status, outcome.error)


@workflow(
    video_runs.RENDITION,
    on=events.RENDITION_REQUESTED,
    retries=1,
    # It takes all of a processor: isolated runs are few at once, and can have machines of their own.
    isolated=True,
    concurrency=[Concurrency(1, key="event.owner_id")],
    idempotency="event.data.request_id",
    subject="video:{event.data.video_id}",
    on_failure=make_rendition_failed,
)
def make_rendition(ctx: Context, step: Step) -> Json:
    """Make a copy that browsers play, unless there is one."""
    if ctx.event.owner_id is None:
        raise NonRetriable("An event about videos needs an owner.")
    about = (ctx.event.owner_id, UUID(ctx.event.data["video_id"]))
    skipped = step.run("begin", rendering.begin, *about)
    if skipped:
        return {"skipped": skipped}
    made: Json = step.run("make", rendering.make, ctx, *about)
    return made
