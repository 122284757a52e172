"""What the steps of reindex-transcript do: search follows an edited transcript, and only what changed is paid for.

The video's status is never touched: what is served stays until the new set is complete, and stays for good when it
cannot be completed, which the video's page then says (index_line). While another run of the pipeline is at work on the
video nothing is done here: that one asks again when it ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from app import live, log
from app.adapters import llm
from app.engine import RetryAfter
from app.errors import NotFound
from app.lib.clock import now
from app.lib.words import join_words
from app.videos import chunks, rechunking, service_transcript, statuses
from app.videos import queries as videos
from app.videos import queries_reindexing as queries
from app.videos import queries_transcript as transcripts
from app.videos.embedding import BATCH_CHUNKS
from app.videos.models import FINAL, Chunk, Video
from app.videos.service_library import PURGE_GRACE, UNDO

logger = log.get(__name__)

Json = dict[str, Any]
GONE = "the video was deleted"


def plan(owner_id: UUID, video_id: UUID, run_id: UUID) -> Json:
    """Store the chunks of the transcript shown, with the vectors that those served now have for the same text.

    Returns:
        `{outcome}` when there is nothing to do, else `{transcript_id, set_id, chunks, kept, batches}`: a batch is a
        list of at most BATCH_CHUNKS ids of chunks that still need a vector.

    Raises:
        RetryAfter: the video was deleted, which can still be taken back.
    """
    video = _get_video(owner_id, video_id)
    if video is None:
        return {"outcome": GONE}
    served = queries.list_served(video.id)
    outcome = _why_not(video, served)
    if outcome or video.transcript_id is None:
        return {"outcome": outcome}
    drafts = _cut(video.transcript_id, served)
    service_transcript.store_chunks(video, video.transcript_id, run_id, llm.embedder().model, drafts)
    service_transcript.copy_vectors(video.id, run_id)
    left = [str(each) for each in queries.list_without_vector(run_id)]
    return {
        "transcript_id": str(video.transcript_id),
        "set_id": str(run_id),
        "chunks": len(drafts),
        "kept": len(drafts) - len(left),
        "batches": [left[start : start + BATCH_CHUNKS] for start in range(0, len(left), BATCH_CHUNKS)],
    }


def serve(owner_id: UUID, video_id: UUID, made: Json) -> str:
    """Serve the finished chunks in place of the old ones, and say what became of them.

    Raises:
        RetryAfter: as of `plan`.
        Replaced: chunks of it are gone, or the video was transcribed again.
    """
    video = _get_video(owner_id, video_id)
    if video is None:
        return GONE
    service_transcript.serve_chunks(
        video, UUID(made["transcript_id"]), UUID(made["set_id"]), made["chunks"], spare_unserved=True
    )
    return "served"


def stand_back(owner_id: UUID, video_id: UUID, made: Json) -> str:
    """Drop chunks that other ones have replaced meanwhile; ask again if the index is older than what is shown."""
    service_transcript.drop_unserved(video_id, UUID(made["set_id"]))
    video = _get_video(owner_id, video_id)
    if video is None:
        return GONE
    service_transcript.follow_edits(video)
    return "replaced by another run"


def give_up(video_id: UUID, run_id: UUID, error: Json) -> None:
    """Remove what a run that failed has made; the old chunks stay served, and the video's page says so."""
    service_transcript.drop_unserved(video_id, run_id)
    logger.warning("video.index_outdated", video_id=str(video_id), run_id=str(run_id), error=error.get("code"))
    live.touch(f"video:{video_id}")


def _get_video(owner_id: UUID, video_id: UUID) -> Video | None:
    """Return the video, locked; None once it is gone for good."""
    try:
        return statuses.get_video(owner_id, video_id, locked=True)
    except NotFound:
        deleted = videos.find_deleted(owner_id, video_id)
    if deleted is None or deleted.deleted_at is None:
        return None
    rest = (deleted.deleted_at + UNDO + PURGE_GRACE - now()).total_seconds()
    if rest > 0:
        raise RetryAfter(rest, "The video was deleted, which can still be taken back.")
    return None


def _why_not(video: Video, served: Sequence[Chunk]) -> str:
    """Return why nothing is to be done; empty when something is."""
    if video.status not in FINAL:
        return "another run is at work on this video, which looks again when it ends"
    is_first = not served or queries.has_newer_transcription(video.id, served[0].transcript_id)
    if video.status != "completed" and is_first:
        return "this transcript was never indexed: left to a retry of what failed"
    if served and all(chunk.transcript_id == video.transcript_id for chunk in served):
        return "the index is of this version already"
    if not served and not queries.has_words(video.transcript_id):
        return "there are no words to index"
    return ""


def _cut(transcript_id: UUID, served: Sequence[Chunk]) -> list[chunks.ChunkDraft]:
    """Cut a version where the served chunks are cut, as far as the words are the same and the rules allow it."""
    old = chunks.units_of(transcripts.list_cues(served[0].transcript_id)) if served else []
    new = chunks.units_of(transcripts.list_cues(transcript_id))
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
