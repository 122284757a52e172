"""From an uploaded file to a transcript that can be searched: five workflows.

video/uploaded, video/transcribe.requested -> transcribe-video -> video/transcription.completed
video/transcription.completed, video/chunk.requested -> generate-embeddings -> video/ready
either one's failure -> its hook -> video/failed
video/embeddings.batch-reprocess -> reprocess-embeddings
"""

from __future__ import annotations

import itertools
from typing import Any
from uuid import UUID

from app.engine import Concurrency, Context, NonRetriable, Outcome, Step, StepError, workflow
from app.videos import embedding, endings, events, text_tracks, transcribing

Json = dict[str, Any]

RUNS_PER_PERSON = 10
SECTIONS_AT_ONCE = 4
BATCHES_AT_ONCE = 4
# A cancelled run ends when its step in hand does: a retry waits for that.
ONE_FOR_EACH_VIDEO = Concurrency(1, key="event.data.video_id")


def transcribe_video_failed(_ctx: Context, outcome: Outcome) -> None:
    """End the video of a transcription that failed, died or was cancelled."""
    endings.end_badly(
        outcome.event.owner_id, UUID(outcome.event.data["video_id"]), outcome.run_id, outcome.status, outcome.error
    )


@workflow(
    "transcribe-video",
    on=[events.UPLOADED, events.TRANSCRIBE_REQUESTED],
    retries=2,
    concurrency=[Concurrency(RUNS_PER_PERSON, key="event.owner_id"), ONE_FOR_EACH_VIDEO],
    idempotency="event.data.request_id",
    subject="video:{event.data.video_id}",
    on_failure=transcribe_video_failed,
)
def transcribe_video(ctx: Context, step: Step) -> Json:
    """Make the transcript of a video: from captions when there are some, else from its sound."""
    owner_id, video_id = _owner(ctx), UUID(ctx.event.data["video_id"])
    about = (owner_id, video_id)
    text_from = events.text_from(ctx.event.data)

    ctx.progress(current_step="prepare", done=0, total=4, message="Looking at the file")
    from_final = bool(ctx.event.data.get("from_final"))
    plan = step.run("prepare", transcribing.begin, *about, text_from=text_from, from_final=from_final)
    if plan["has_captions"]:
        transcript_id = step.run("read-captions", transcribing.save_captions, *about, ctx.run_id)
        return {"transcript_id": transcript_id, "source": "captions"}
    if text_from != text_tracks.SOUND:
        chosen = text_tracks.index_of(text_from)
        transcript_id = step.run("read-text-track", transcribing.save_text_track, *about, ctx.run_id, chosen)
        if transcript_id:
            return {"transcript_id": transcript_id, "source": "text track"}

    step.run("check-language", transcribing.refuse_unknown_language, *about)
    ctx.progress(current_step="extract-audio", done=1, total=4, message="Getting the sound")
    pieces = step.run("extract-audio", transcribing.extract_audio, *about, ctx.run_id)
    words = _transcribe(ctx, step, about, pieces)
    speech = [span for piece in pieces for span in piece["speech"]]
    transcript_id = step.run("save-transcript", transcribing.save_words, *about, ctx.run_id, words, speech)
    _remove_files(ctx, step)
    return {"transcript_id": transcript_id, "source": "model", "pieces": len(pieces)}


def _transcribe(ctx: Context, step: Step, about: tuple[UUID, UUID], pieces: list[Json]) -> list[list[Any]]:
    """Transcribe sections in parallel; the pieces of one follow each other, each told how the one before ended."""
    total = len(pieces) + 3
    finished = itertools.count(3)

    def transcribe_section(branch: Step, section: list[Json]) -> Any:
        heard: list[Json] = []
        for piece in section:
            tail = heard[-1]["text"][-transcribing.PROMPT_CHARACTERS :] if heard else ""
            heard.append(branch.run("piece", transcribing.transcribe_piece, *about, ctx.run_id, piece, tail))
            ctx.progress(current_step="transcribe", done=next(finished), total=total, message="Listening")
        return branch.run("align", transcribing.align_section, *about, section, heard)

    ctx.progress(current_step="transcribe", done=2, total=total, message="Listening")
    sections = transcribing.sections(pieces)
    found = step.map("section", transcribe_section, sections, limit=SECTIONS_AT_ONCE)
    return [word for words in found for word in words]


def _remove_files(ctx: Context, step: Step) -> None:
    try:
        step.run("remove-files", transcribing.remove_files, ctx.run_id)
    except StepError as error:  # the transcript is saved: left files must not fail it
        ctx.log.warning("run.files_left", error=str(error))


def generate_embeddings_failed(_ctx: Context, outcome: Outcome) -> None:
    """End the video of chunks or embeddings that failed, died or were cancelled."""
    endings.end_badly(
        outcome.event.owner_id, UUID(outcome.event.data["video_id"]), outcome.run_id, outcome.status, outcome.error
    )


@workflow(
    "generate-embeddings",
    on=[events.TRANSCRIPTION_COMPLETED, events.CHUNK_REQUESTED],
    retries=1,
    concurrency=[ONE_FOR_EACH_VIDEO],
    idempotency="event.data.request_id",
    subject="video:{event.data.video_id}",
    on_failure=generate_embeddings_failed,
)
def generate_embeddings(ctx: Context, step: Step) -> Json:
    """Cut a transcript into chunks, embed them, and serve them in place of the old ones."""
    owner_id, video_id = _owner(ctx), UUID(ctx.event.data["video_id"])
    wants_notice = bool(ctx.event.data.get("wants_notice", True))
    about = (owner_id, video_id)

    ctx.progress(current_step="chunk", done=0, total=3, message="Cutting into chunks")
    is_asked_for = ctx.event.name == events.CHUNK_REQUESTED
    step.run("prepare", embedding.begin, *about, from_final=is_asked_for)
    if not ctx.event.data.get("force") and step.run("look-for-embeddings", embedding.is_done, *about):
        step.run("complete", embedding.complete, *about, ctx.run_id, None, wants_notice=wants_notice)
        return {"skipped": "This transcript has embeddings of this model."}
    made = step.run("chunk", embedding.cut_chunks, *about, ctx.run_id, has_status=True)
    _embed(ctx, step, made["batches"], owner_id)
    served = step.run("complete", embedding.complete, *about, ctx.run_id, made, wants_notice=wants_notice)
    return {"chunks": served, "model": made["model"]}


def _embed(ctx: Context, step: Step, batches: list[list[str]], owner_id: UUID, *, tell: bool = True) -> None:
    finished = itertools.count(2)

    def embed_batch(branch: Step, numbered: list[Any]) -> None:
        number, batch = numbered
        branch.run("embed", embedding.embed_batch, owner_id, batch, ctx.run_id, f"embed-{number}-{batch[0]}")
        if tell:
            ctx.progress(
                current_step="embed", done=next(finished), total=len(batches) + 2, message="Making it searchable"
            )

    if tell:
        ctx.progress(current_step="embed", done=1, total=len(batches) + 2, message="Making it searchable")
    step.map("batch", embed_batch, [[number, batch] for number, batch in enumerate(batches)], limit=BATCHES_AT_ONCE)


@workflow(
    "reprocess-embeddings",
    on=events.BATCH_REPROCESS,
    retries=2,
    concurrency=[Concurrency(1, key="event.owner_id")],
    idempotency="event.data.request_id",
)
def reprocess_embeddings(ctx: Context, step: Step) -> Json:
    """Embed many videos again, one after another; each keeps its old vectors until its new ones are complete."""
    owner_id = _owner(ctx)
    is_forced = bool(ctx.event.data.get("force"))
    video_ids = step.run("list", embedding.list_reprocessable, owner_id, ctx.event.data.get("video_ids") or [])
    finished = itertools.count(1)

    def reprocess(branch: Step, video_id: str) -> Json:
        outcome = _reprocess(ctx, branch, owner_id, UUID(video_id), is_forced=is_forced)
        done = next(finished)
        ctx.progress(
            current_step="embed", done=done, total=len(video_ids), message=f"{done} of {len(video_ids)} videos"
        )
        return {"video_id": video_id, "outcome": outcome}

    ctx.progress(current_step="embed", done=0, total=max(1, len(video_ids)), message=f"{len(video_ids)} videos")
    results = step.map("video", reprocess, video_ids, limit=1)
    return {"videos": results}


def _reprocess(ctx: Context, step: Step, owner_id: UUID, video_id: UUID, *, is_forced: bool) -> str:
    """Embed one video again; what goes wrong is said of this video and the others go on."""
    try:
        if not is_forced and step.run("look-for-embeddings", embedding.is_done, owner_id, video_id):
            return "kept"
        made = step.run("chunk", embedding.cut_chunks, owner_id, video_id, ctx.run_id, has_status=False)
        _embed(ctx, step, made["batches"], owner_id, tell=False)
        step.run("serve", embedding.publish, owner_id, video_id, made, has_status=False)
    except StepError as error:
        step.run("drop-chunks", embedding.drop_unserved, video_id, ctx.run_id)
        return error.message
    return "done"


@workflow("remove-run-files", on=["run/failed", "run/cancelled", "run/dead"], retries=4)
def remove_run_files(ctx: Context, step: Step) -> Json:
    """Remove what a transcription that did not complete has left in storage."""
    if ctx.event.data.get("workflow") != "transcribe-video":
        return {}
    return {"removed": step.run("remove-files", transcribing.remove_files, UUID(ctx.event.data["run_id"]))}


def _owner(ctx: Context) -> UUID:
    if ctx.event.owner_id is None:
        raise NonRetriable("An event about videos needs an owner.")
    return ctx.event.owner_id
