"""What the pages of a video show, made from its rows and its runs. No request here: sockets render the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from flask import render_template

from app import engine
from app.accounts import usage_report
from app.db import db
from app.errors import NotFound
from app.lib.words import is_joined
from app.videos import progress, video_runs
from app.videos import queries_transcript as queries
from app.videos.events import PIPELINE
from app.videos.index_line import index_line
from app.videos.models import FINAL, Segment, Video

LABELS = {
    "prepare": "Look at the file",
    "read-captions": "Read the captions",
    "read-text-track": "Look for captions in the file",
    "check-language": "Check the language",
    "extract-audio": "Get the sound",
    "section": "Transcribe",
    "save-transcript": "Save the transcript",
    "remove-files": "Tidy up",
    "look-for-embeddings": "Look for an index",
    "chunk": "Cut into chunks",
    "batch": "Index for search",
    "complete": "Publish",
}
FLAGS = {"repeat": "Repeated, perhaps not said", "over-silence": "Words over silence, perhaps not said"}
MOST_RUNS = 500  # whose cost is added up
SOURCE_WORDS = {
    "model": "transcribed",
    "captions": "from captions",
    "edit": "edited",
    "import": "imported",
    "restore": "restored",
}
UNSURE, SANDBOX_UNSURE = 0.5, 0.3


@dataclass(frozen=True)
class StepLine:
    """One line of the step list; the branches of one map are folded into one line."""

    label: str
    status: str
    done: int
    total: int
    seconds: float | None
    tries: int
    error: str | None


@dataclass(frozen=True)
class CueLine:
    """One cue as the page shows it; `words` tells the script where each word begins: "offset,centiseconds ..."."""

    index: int
    start: float
    end: float
    text: str
    words: str
    speaker: str | None
    flag: str | None
    unsure: str  # the numbers of the words that the model was unsure of: "3 7"


def status_fragment(video: Video) -> str:
    """Render what the page says about the state of a video; nothing in it is personal."""
    latest = {run.workflow: run for run in reversed(video_runs.list_pipeline_runs(video))}
    shown = [latest[name] for name in PIPELINE if name in latest]
    if len(shown) == len(PIPELINE) and shown[1].created_at < shown[0].created_at:
        shown = shown[:1]  # transcribed again: what was embedded before belongs to the old transcript
    return render_template(
        "videos/_status.html",
        video=video,
        steps=[(run, step_lines(engine.list_steps(run.id))) for run in shown],
        is_final=video.status in FINAL,
        progress=progress.progress(video),
        index=index_line(video),
    )


def cost_of(video: Video) -> int:
    """Return what the runs about a video have cost its owner so far, in micro-USD; runs long over are forgotten."""
    runs = engine.list_runs(owner_id=video.owner_id, subject=f"video:{video.id}", limit=MOST_RUNS)
    return usage_report.cost_of_runs(video.owner_id, [run.id for run in runs])


def render_live(video_id: UUID) -> str:
    """Render the live view `page` of the topic `video:<id>`.

    Raises:
        NotFound: the video is gone.
    """
    video = db.session.get(Video, video_id)
    if video is None or video.deleted_at is not None:
        raise NotFound
    return status_fragment(video)


def may_watch(user: Any, video_id: UUID) -> bool:
    """Tell whether a person may watch a video: only its owner, administrators included."""
    video = db.session.get(Video, video_id)
    return video is not None and video.deleted_at is None and video.owner_id == getattr(user, "id", None)


def step_lines(steps: Sequence[Any]) -> list[StepLine]:
    """Fold steps into lines in the order in which they began."""
    groups: dict[str, list[Any]] = {}
    for step in steps:
        groups.setdefault(step.key.partition("/")[0].partition("[")[0].partition(":")[0], []).append(step)
    return [_line(name, group) for name, group in groups.items()]


def _line(name: str, group: list[Any]) -> StepLine:
    failed = next((step for step in group if step.status == "failed"), None)
    is_over = all(step.status == "completed" for step in group)
    pieces = [step for step in group if "/piece" in step.key] or group
    done = sum(1 for step in pieces if step.status == "completed")
    starts = [step.started_at for step in group if step.started_at]
    ends = [step.finished_at for step in group if step.finished_at]
    return StepLine(
        label=LABELS.get(name, name.replace("-", " ").capitalize()),
        status="failed" if failed else "completed" if is_over else "running",
        done=done,
        total=len(pieces),
        seconds=_seconds(starts, ends) if is_over else None,
        tries=max((len(step.attempts) + (step.status == "completed") for step in group), default=0),
        error=str((failed.error or {}).get("message", "")) if failed else None,
    )


def _seconds(starts: list[datetime], ends: list[datetime]) -> float | None:
    return (max(ends) - min(starts)).total_seconds() if starts and ends else None


def unsure_below(model: str) -> float:
    """Return the confidence (0..1) below which words of this model are shaded.

    Measured on the sample talks: below 0.3 lies one word in six of the sandbox's, and it is wrong twice as often as the
    others; a higher limit shades half a page. Other servers give a probability: even odds are the plain limit there.
    """
    return SANDBOX_UNSURE if model.startswith("sandbox-") else UNSURE


def cue_lines(transcript_id: UUID, below: float = UNSURE) -> list[CueLine]:
    """Return the cues of a transcript for the page; words of less confidence than `below` count as unsure."""
    return [_cue_line(segment, below) for segment in queries.list_segments(transcript_id)]


def _cue_line(segment: Segment, below: float) -> CueLine:
    text: list[str] = []
    places: list[str] = []
    offset = 0
    for number, (word, start, _end, _confidence) in enumerate(segment.words):
        if number and not is_joined(segment.words[number - 1][0], word):
            text.append(" ")
            offset += 1
        places.append(f"{offset},{round(start * 100)}")
        text.append(word)
        # The script counts in UTF-16, as browsers do.
        offset += len(word.encode("utf-16-le")) // 2
    flag = next((FLAGS[flag] for flag in segment.flags if flag in FLAGS), None)
    return CueLine(
        segment.index,
        segment.start_seconds,
        segment.end_seconds,
        "".join(text) or " ".join(segment.text.split()),
        " ".join(places),
        segment.speaker,
        flag,
        " ".join(str(number) for number, (*_, sure) in enumerate(segment.words) if sure is not None and sure < below),
    )
