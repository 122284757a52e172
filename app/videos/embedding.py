"""What the steps of generate-embeddings and reprocess-embeddings do. Each function is one step."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from app import engine
from app.accounts import service as accounts
from app.adapters import llm
from app.db import db
from app.lib.ids import parse_id
from app.videos import events, notices, service_transcript, statuses
from app.videos import queries_transcript as queries
from app.videos.models import Video
from app.videos.prices import embedding_price

BATCH_CHUNKS = 20

Json = dict[str, Any]


def begin(owner_id: UUID, video_id: UUID, *, from_final: bool) -> None:
    """Set the status to processing; `from_final`: somebody asked for it, so also that of a finished video."""
    statuses.get_video(owner_id, video_id)
    statuses.move(video_id, "processing", from_final=from_final)


def is_done(owner_id: UUID, video_id: UUID) -> bool:
    """Tell whether the video's transcript is served with vectors of the model set now."""
    video = statuses.get_video(owner_id, video_id)
    return video.transcript_id is not None and queries.has_embeddings(video.transcript_id, llm.embedder().model)


def cut_chunks(owner_id: UUID, video_id: UUID, run_id: UUID, *, has_status: bool) -> Json:
    """Store the chunks of the video's transcript; with `has_status` set the status to embedding.

    Returns:
        `{transcript_id, model, set_id, batches}`: the set is named after the run that cut it, also in a rerun of it; a
        batch is a list of at most BATCH_CHUNKS chunk ids.
    """
    video = statuses.get_video(owner_id, video_id, locked=True)
    transcript = queries.get_transcript(video)
    model = llm.embedder().model
    ids = [str(each) for each in service_transcript.build_chunks(video, transcript.id, run_id, model)]
    if has_status:
        statuses.move(video_id, "embedding")
    batches = [ids[start : start + BATCH_CHUNKS] for start in range(0, len(ids), BATCH_CHUNKS)]
    return {"transcript_id": str(transcript.id), "model": model, "set_id": str(run_id), "batches": batches}


def embed_batch(owner_id: UUID, batch: list[str], run_id: UUID, step: str) -> int:
    """Embed one batch: one paid call, metered; store its vectors with the memo. Return the tokens.

    Raises:
        Busy: a chunk is gone: another set was made meanwhile.
    """
    texts = queries.list_texts([UUID(each) for each in batch])
    if len(texts) != len(batch):
        raise service_transcript.Replaced  # another set was served meanwhile, and this one went with the old
    embedded = embed(owner_id, [text for _, text in texts], run_id=run_id, step=step)
    service_transcript.store_vectors(
        {chunk_id: list(vector) for (chunk_id, _), vector in zip(texts, embedded.vectors, strict=True)},
        llm.embedder().model,
    )
    return embedded.tokens


def embed(
    owner_id: UUID,
    texts: list[str],
    *,
    run_id: UUID | None = None,
    step: str,
    patience_seconds: float | None = None,
) -> llm.Embedded:
    """Make one paid call, within the owner's budget and metered; see `llm.Embedder` for `patience_seconds`.

    Raises:
        AppError: over the budget, or the model server does not answer.
    """
    embedder = llm.embedder()
    accounts.ensure_budget(owner_id, embedding_price(texts), run_id=run_id, step=step)
    paid_as = f"{run_id}/{step}" if run_id else ""
    embedded = embedder.embed(texts, owner_id=owner_id, paid_as=paid_as, patience_seconds=patience_seconds)
    accounts.record_usage(
        owner_id,
        kind="embeddings",
        model=embedder.model,
        quantity=embedded.tokens,
        unit="tokens",
        microusd=embedding_price(embedded.tokens),
        run_id=run_id,
        step=step,
    )
    return embedded


def publish(owner_id: UUID, video_id: UUID, made: Json, *, has_status: bool = True) -> int:
    """Serve the finished chunks in place of the old ones; return how many.

    Without `has_status` (see `cut_chunks`) it leaves alone what the run that has it is making at the same time.
    """
    video = statuses.get_video(owner_id, video_id, locked=True)
    count = sum(map(len, made["batches"]))
    return service_transcript.serve_chunks(
        video, UUID(made["transcript_id"]), UUID(made["set_id"]), count, spare_unserved=not has_status
    )


def complete(owner_id: UUID, video_id: UUID, run_id: UUID, made: Json | None, *, wants_notice: bool) -> int:
    """Serve the finished chunks, if any were made, set the status to completed and send `video/ready`: one commit.

    Those that an edit has overtaken meanwhile are dropped; one that was saved meanwhile is followed by the index.
    """
    served = 0
    try:
        served = publish(owner_id, video_id, made) if made else 0
    except service_transcript.Overtaken:
        drop_unserved(video_id, UUID((made or {})["set_id"]))
    statuses.move(video_id, "completed")
    video = statuses.get_video(owner_id, video_id)
    if wants_notice:
        notices.note(video, run_id, "ready")
    service_transcript.follow_edits(video)
    engine.send(
        events.READY,
        events.payload(video, run_id, run_id=str(run_id), wants_notice=wants_notice),
        owner_id=owner_id,
    )
    return served


def drop_unserved(video_id: UUID, run_id: UUID) -> None:
    """Remove the chunks that could not all be embedded."""
    service_transcript.drop_unserved(video_id, run_id)


def list_reprocessable(owner_id: UUID, video_ids: list[str]) -> list[str]:
    """Return which of the person's videos have a transcript to embed, oldest first; all when none is named."""
    wanted = sa.select(Video.id).where(
        Video.owner_id == owner_id, Video.deleted_at.is_(None), Video.transcript_id.is_not(None)
    )
    named = [found for each in video_ids if (found := parse_id(each))]
    if video_ids:
        wanted = wanted.where(Video.id.in_(named))
    return [str(each) for each in db.session.scalars(wanted.order_by(Video.created_at, Video.id))]
