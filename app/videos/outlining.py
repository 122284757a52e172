"""What the steps of describe-video do beside asking the model. Each function is one step."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert

from app import engine, live
from app.adapters import llm
from app.db import db
from app.errors import Conflict
from app.lib.clock import now
from app.lib.ids import new_id
from app.videos import events, prompts, statuses
from app.videos import queries_transcript as queries
from app.videos.models import Outline, Video
from app.web import settings

Json = dict[str, Any]
WORKFLOW = "describe-video"  # it runs beside the pipeline and gives no video its status
NOTHING_SAID = "Nothing was said."


def plan(owner_id: UUID, video_id: UUID, *, is_asked: bool = False) -> Json:
    """Look at the transcript shown now and divide it.

    Returns:
        `{skipped}`, why there is nothing to do; or `{transcript_id, language, model, most, before, parts}`: how many
        chapters a part may have, the title that a person was not content with, and the numbers of the first and last
        segment of each part.
    """
    live.touch(f"video:{video_id}")
    if not llm.has_chat():
        return {"skipped": "There is no chat model."}
    video = statuses.get_video(owner_id, video_id)
    if video.transcript_id is None:
        return {"skipped": "There is no transcript."}
    segments = _segments(video.transcript_id)
    if not segments:
        return {"skipped": NOTHING_SAID}
    before = queries.get_outline(video) if is_asked else None
    parts = prompts.divide(segments, settings().chat_window_tokens)
    return {
        "transcript_id": str(video.transcript_id),
        "language": video.language,
        "model": llm.chat().model,
        "most": prompts.most_chapters(video.duration_seconds, len(parts)),
        "before": before.title if before else "",
        "parts": [[part[0].number, part[-1].number] for part in parts],
    }


def read_part(owner_id: UUID, video_id: UUID, planned: Json, number: int) -> list[dict[str, str]]:
    """Return the messages that ask about one part."""
    statuses.get_video(owner_id, video_id)  # nothing is asked about a video that was deleted meanwhile
    first, last = planned["parts"][number]
    part = [said for said in _segments(UUID(planned["transcript_id"])) if first <= said.number <= last]
    asked = {"language": planned["language"], "most": planned["most"], "before": planned["before"]}
    return prompts.outline_messages(part, number=number + 1, total=len(planned["parts"]), **asked)


def save(owner_id: UUID, video_id: UUID, run_id: UUID, planned: Json, reply: Json) -> Json:
    """Keep an outline in place of the one before; a later run's is never replaced by an earlier one's.

    Returns:
        `{title, chapters}`: the title that it suggests, and how many chapters there are.
    """
    video = statuses.get_video(owner_id, video_id, locked=True)
    starts = {said.number: said.start_seconds for said in _segments(UUID(planned["transcript_id"]))}
    chapters = [
        {"segment": number, "start_seconds": starts[number], "title": title}
        for number, title in reply["chapters"]
        if number in starts
    ]
    values = {
        "transcript_id": UUID(planned["transcript_id"]),
        "title": reply["title"],
        "summary": reply["summary"],
        "chapters": chapters,
        "model": planned["model"],
        "run_id": run_id,
        "created_at": now(),
    }
    statement = insert(Outline).values(video_id=video.id, **values)
    db.session.execute(
        statement.on_conflict_do_update(index_elements=["video_id"], set_=values, where=Outline.run_id <= run_id)
    )
    live.touch(f"video:{video_id}")
    return {"title": reply["title"], "chapters": len(chapters)}


def chapters_now(video: Video, outline: Outline) -> list[Json]:
    """Return the chapters with the numbers of the segments in which they begin in the transcript shown now.

    They were written by the numbers of another version when it was edited since: cues are split and merged, but what
    was said stays where it was said. So the times stand, and the numbers follow them.
    """
    chapters: list[Json] = outline.chapters
    if video.transcript_id is None or outline.transcript_id == video.transcript_id:
        return chapters
    starts = [start for _, start, _ in queries.list_numbered(video.transcript_id)]
    return [{**each, "segment": max(0, bisect_right(starts, each["start_seconds"]) - 1)} for each in chapters]


def say_ended(video_id: UUID) -> None:
    """Let the page say that there is no new outline; the video itself is none the worse."""
    live.touch(f"video:{video_id}")


def request(video: Video) -> None:
    """Ask for a new outline ("describe again").

    Raises:
        Conflict: there is nothing to describe, or no model, or it is being described.
    """
    if not llm.has_chat():
        raise Conflict("There is no chat model. An administrator must set one: a key, or a local server.")
    if video.transcript_id is None:
        raise Conflict("There is no transcript yet, so there is nothing to describe. It is described when it is ready.")
    last = last_run(video)
    if last is not None and not last.is_final:
        raise Conflict("It is being described already. Wait for it.")
    engine.send(events.DESCRIBE_REQUESTED, events.payload(video, new_id()), owner_id=video.owner_id)
    live.touch(f"video:{video.id}")


def last_run(video: Video) -> engine.RunView | None:
    """Return the newest run that describes, or has described, the video."""
    runs = engine.list_runs(owner_id=video.owner_id, subject=f"video:{video.id}", workflow=WORKFLOW, limit=1)
    return runs[0] if runs else None


def _segments(transcript_id: UUID) -> list[prompts.Said]:
    lines = queries.list_numbered(transcript_id)
    return [prompts.Said(number, start, text) for number, start, text in lines if text.strip()]
