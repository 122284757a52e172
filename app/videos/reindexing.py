"""What the steps of reindex-transcript do: the search index follows an edited transcript, and only what changed is paid.

The video's status is never touched: what is served stays until the new set is complete, and stays for good when it
cannot be completed, which the video's page then says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID


from app import engine, live, log
from app.adapters import llm
from app.db import db
from app.lib.words import join_words
from app.videos import chunks, rechunking, service_library, service_transcript, statuses
from app.videos import queries_reindexing as queries
from app.videos import queries_transcript as transcripts
from app.videos.embedding import BATCH_CHUNKS
from app.videos.models import Chunk, Video

logger = log.get(__name__)

Json = dict[str, Any]


def plan(owner_id: UUID, video_id: UUID, run_id: UUID) -> Json:
    """Store the chunks of the transcript shown, with the vectors that those served now have for the same text.

    Returns:
        `{outcome}` when there is nothing to do here, else `{transcript_id, set_id, batches, kept, chunks}`: a batch is
        a list of at most BATCH_CHUNKS ids of chunks that still need a vector.
    """
    model = llm.embedder().model
    video = statuses.get_video(owner_id, video_id, locked=True)
    if video.transcript_id is None:
        return {"outcome": "there is no transcript"}
    served = queries.list_served(video.id)
    if not served or any(chunk.model != model for chunk in served):
        return _ask_for_whole(video, is_served=bool(served))
    if all(chunk.transcript_id == video.transcript_id for chunk in served):
        return {"outcome": "the index is of this version already"}
    made = _rows(video, served)
    ids = service_transcript.store_chunks(video, video.transcript_id, run_id, model, made)
    known = {chunk.text: chunk.id for chunk in served}
    same = {new: known[draft.text] for new, draft in zip(ids, made, strict=True) if draft.text in known}
    service_transcript.copy_vectors(same)
    left = [str(each) for each in ids if each not in same]
    return {
        "transcript_id": str(video.transcript_id),
        "set_id": str(run_id),
        "batches": [left[start : start + BATCH_CHUNKS] for start in range(0, len(left), BATCH_CHUNKS)],
        "kept": len(same),
        "chunks": len(ids),
    }


def serve(owner_id: UUID, video_id: UUID, made: Json) -> str:
    """Serve the finished chunks in place of the old ones, and say what became of them.

    When a newer transcription is shown by now, or a newer version is served, they are dropped.
    """
    video = statuses.get_video(owner_id, video_id, locked=True)
    set_id = UUID(made["set_id"])
    try:
        service_transcript.serve_chunks(
            video, UUID(made["transcript_id"]), set_id, made["chunks"], spare_unserved=True, newer_only=True
        )
    except service_transcript.Replaced:
        service_transcript.drop_unserved(video_id, set_id)
        return "a newer transcript is indexed by another run"
    return "served"


def give_up(owner_id: UUID | None, video_id: UUID, run_id: UUID, error: Json) -> None:
    """Remove what a run that failed has made; the old chunks stay served, and the video's page says so."""
    service_transcript.drop_unserved(video_id, run_id)
    logger.warning("video.index_outdated", video_id=str(video_id), run_id=str(run_id), error=error.get("code"))
    if owner_id is not None:
        live.touch(f"video:{video_id}")


def why_outdated(video: Video) -> str | None:
    """Return what the page says when search looks at an older version than the one shown; None while a run is at it."""
    if video.transcript_id is None or video.status != "completed" or not queries.is_outdated(video):
        return None
    runs = engine.list_runs(owner_id=video.owner_id, subject=subject_of(video.id), limit=1)
    if runs and not runs[0].is_final:
        return None
    error = (runs[0].error or {}) if runs else {}
    told = str(error.get("message") or "") if error.get("code") not in (None, "error") else ""
    return f"The search index is older than the transcript. {told}".strip()


def subject_of(video_id: UUID) -> str:
    """Return the subject of the runs that follow the edits of a video: its own, so that they count as no work on it."""
    return f"index:{video_id}"


def _ask_for_whole(video: Video, *, is_served: bool) -> Json:
    """Ask for a normal run when it is needed and none is under way, which would look at the newest version itself."""
    if video.status != "completed":
        return {"outcome": "another run indexes this video"}
    if not is_served and not transcripts.has_words(video.transcript_id):
        return {"outcome": "there are no words to index"}
    service_library.reprocess(video)
    return {"outcome": "the whole transcript is indexed anew"}


def _rows(video: Video, served: Sequence[Chunk]) -> list[chunks.ChunkDraft]:
    assert video.transcript_id is not None
    old = chunks.units_of(transcripts.list_cues(served[0].transcript_id))
    new = chunks.units_of(transcripts.list_cues(video.transcript_id))
    found = rechunking.carry_over([unit.text for unit in old], _bounds_of(served, old), new)
    return [chunks.draft(index, new[begin:end]) for index, (begin, end) in enumerate(found)]


def _bounds_of(served: Sequence[Chunk], units: Sequence[chunks.Unit]) -> list[chunks.Bounds]:
    """Find the words of each chunk again; none when one is not found, as after a change of how text is cut."""
    found: list[chunks.Bounds] = []
    first_words = {unit.segment: place for place, unit in reversed(list(enumerate(units)))}
    for chunk in served:
        begin = first_words.get(chunk.first_segment, len(units))
        while begin < len(units) and units[begin].segment == chunk.first_segment:
            if join_words([unit.text for unit in units[begin : begin + chunk.words]]) == chunk.text:
                break
            begin += 1
        else:
            return []
        found.append((begin, begin + chunk.words))
    return found


