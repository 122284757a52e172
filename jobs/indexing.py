"""The search index follows what people do to a transcript: video/transcript.edited -> reindex-transcript."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from app.engine import Concurrency, Context, Debounce, NonRetriable, Outcome, Step, StepError, workflow
from app.videos import embedding, events, reindexing, statuses

Json = dict[str, Any]

BATCHES_AT_ONCE = 4


def reindex_transcript_failed(_ctx: Context, outcome: Outcome) -> None:
    """Leave the old chunks served; nothing but a line on the video's page tells of it."""
    reindexing.give_up(UUID(outcome.event.data["video_id"]), outcome.run_id, outcome.error)


@workflow(
    "reindex-transcript",
    on=events.TRANSCRIPT_EDITED,
    # Who corrects a transcript saves every few seconds: what they pay for is once, when they pause.
    debounce=Debounce("5s", key="event.data.video_id", timeout="60s"),
    retries=4,
    concurrency=[Concurrency(1, key="event.data.video_id")],
    subject="video:{event.data.video_id}",
    on_failure=reindex_transcript_failed,
)
def reindex_transcript(ctx: Context, step: Step) -> Json:
    """Cut the version shown now where the old one was cut, embed only what has other words, and serve it."""
    if ctx.event.owner_id is None:
        raise NonRetriable("An event about videos needs an owner.")
    about = (ctx.event.owner_id, UUID(ctx.event.data["video_id"]))

    made = step.run("plan", reindexing.plan, *about, ctx.run_id)
    if "outcome" in made:
        return {"outcome": made["outcome"]}
    try:
        _embed(ctx, step, made["batches"], about[0])
        outcome = step.run("serve", reindexing.serve, *about, made)
    except StepError as error:
        if error.code != statuses.Busy.code:
            raise
        outcome = step.run("stand-back", reindexing.stand_back, *about, made)
    return {"outcome": outcome, "chunks": made["chunks"], "kept": made["kept"]}


def _embed(ctx: Context, step: Step, batches: list[list[str]], owner_id: UUID) -> None:
    def embed_batch(branch: Step, numbered: list[Any]) -> None:
        number, batch = numbered
        branch.run("embed", embedding.embed_batch, owner_id, batch, ctx.run_id, f"embed-{number}-{batch[0]}")

    step.map("batch", embed_batch, [[number, batch] for number, batch in enumerate(batches)], limit=BATCHES_AT_ONCE)
