"""From the sandbox to a real provider: which videos the sandbox made, what it costs to make them again, and doing it.

A video counts for its transcript when the sandbox's recogniser heard the words that are shown; captions, imports and
what another model heard do not. One that somebody has corrected since is left alone: its owner decides on its page.
It counts for its index when the sandbox made the vectors that are served.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from app import engine
from app.accounts import service as accounts
from app.adapters import llm
from app.db import db
from app.engine import RunView
from app.errors import Conflict
from app.lib.ids import new_id
from app.lib.text import money
from app.settings import CAPABILITIES, SANDBOX_FAMILY
from app.videos import events, prices, service_transcript, statuses, text_tracks
from app.videos.models import FINAL, Chunk, Transcript, Video
from app.web import settings

WORKFLOW = "renew-videos"
MOST_VIDEOS = 2_000  # of one run: two steps each
OUTLINE_TOKENS = 800  # what a title, a summary and chapters come to

Json = dict[str, Any]


@dataclass(frozen=True)
class Renewal:
    """What the models set now could make again of one person's videos, and what that costs about, in micro-USD."""

    transcribe: tuple[UUID, ...]
    index: tuple[UUID, ...]  # those that need new vectors only
    corrected: int  # heard by the sandbox and corrected by hand since
    microusd: int

    @property
    def count(self) -> int:
        """Return how many videos would be made again."""
        return len(self.transcribe) + len(self.index)


def find(owner_id: UUID) -> Renewal:
    """Look what the sandbox has made of a person's videos and a real provider set now could make again."""
    heard = _list_heard(owner_id) if _is_real("transcription") else []
    wanted = [each for each in heard if each.source == "model"]
    ids = {each.id for each in wanted}
    indexed = [each for each in _list_indexed(owner_id) if each.id not in ids] if _is_real("embeddings") else []
    microusd = sum(price_of(each.duration_seconds) for each in wanted)
    microusd += prices.embedding_price(round(sum(each.words for each in indexed) * prices.TOKENS_A_WORD))
    return Renewal(
        tuple(each.id for each in wanted),
        tuple(each.id for each in indexed),
        len(heard) - len(wanted),
        microusd,
    )


def price_of(seconds: float) -> int:
    """Return what transcribing again costs about, with the index and the outline that follow, in micro-USD."""
    tokens = prices.spoken_tokens(seconds)
    described = accounts.chat_price(tokens, OUTLINE_TOKENS) if llm.has_chat() else 0
    return prices.audio_price(seconds) + prices.embedding_price(tokens) + described


def cost_of_one(video: Video, transcript: Transcript | None) -> str:
    """Return what it costs about to have one video heard by the real provider set now; empty: nothing to offer."""
    if transcript is None or not transcript.model.startswith(SANDBOX_FAMILY) or not _is_real("transcription"):
        return ""
    microusd = prices.audio_price(video.duration_seconds)
    return f"about {money(microusd)}" if microusd else "at no cost"


def request(owner_id: UUID) -> Renewal:
    """Have everything made again that the sandbox made: transcripts one after another, and one batch of indexing.

    Raises:
        Conflict: it is under way, or there is nothing to make again.
        OverBudget: the whole does not fit this month's budget; nothing was begun.
    """
    run = last_run(owner_id)
    if run is not None and not run.is_final:
        raise Conflict("Your videos are being made again already. Wait for it, or cancel that run.")
    found = find(owner_id)
    if not found.count:
        raise Conflict("There is nothing to make again: no video of yours was made by the sandbox.")
    accounts.ensure_budget(owner_id, found.microusd)
    if found.transcribe:
        data = {"user_id": str(owner_id), "request_id": str(new_id())}
        engine.send(events.RENEW_REQUESTED, data, owner_id=owner_id)
    if found.index:
        service_transcript.request_reprocess(owner_id, found.index)
    return found


def last_run(owner_id: UUID) -> RunView | None:
    """Return the newest run that makes, or has made, a person's videos again."""
    return next(iter(engine.list_runs(owner_id=owner_id, workflow=WORKFLOW, limit=1)), None)


def list_drafts(owner_id: UUID) -> list[str]:
    """Return which videos are to be transcribed again, oldest first (a step of renew-videos).

    Those beyond MOST_VIDEOS are offered again when it has ended.
    """
    return [str(each) for each in find(owner_id).transcribe[:MOST_VIDEOS]]


def look(owner_id: UUID, video_id: UUID) -> Json:
    """Look at one video again before it is its turn (a step of renew-videos).

    Returns:
        `{payload}` for transcribe-video, or `{skipped}`: why it is left alone.

    Raises:
        OverBudget: it does not fit this month's budget.
        NotFound: it was deleted.
    """
    video = statuses.get_video(owner_id, video_id)
    if not any(each.source == "model" for each in _list_heard(owner_id, video_id)):
        return {"skipped": "It was made again, corrected or taken up otherwise meanwhile."}
    payload = events.payload(video, new_id(), text_from=text_tracks.SOUND, from_final=True)
    accounts.ensure_budget(owner_id, prices.audio_price(video.duration_seconds))
    return {"payload": payload}


def _is_real(capability: str) -> bool:
    provider = settings().providers[capability]
    return not provider.is_sandbox and bool(provider.api_key or provider.base_url)


def _by_sandbox(column: Any) -> sa.ColumnElement[bool]:
    return sa.or_(*(column.startswith(name, autoescape=True) for name in SANDBOX_FAMILY))


def _list_heard(owner_id: UUID, video_id: UUID | None = None) -> Sequence[Any]:
    """Return `(id, duration_seconds, source)` of the videos whose shown words the sandbox heard, oldest first."""
    wanted = (
        sa.select(Video.id, Video.duration_seconds, Transcript.source)
        .join(Transcript, Transcript.id == Video.transcript_id)
        .where(*_mine(owner_id), _by_sandbox(Transcript.model))
        .order_by(Video.created_at, Video.id)
    )
    return db.session.execute(wanted.where(Video.id == video_id) if video_id else wanted).all()


def _list_indexed(owner_id: UUID) -> Sequence[Any]:
    """Return `(id, words)` of the videos whose served vectors the sandbox made, oldest first.

    By the one name of its model, which an index knows: this is asked for each time that the library is opened.
    """
    words = sa.func.sum(Chunk.words).label("words")
    return db.session.execute(
        sa.select(Video.id, words)
        .join(Chunk, Chunk.video_id == Video.id)
        .where(
            *_mine(owner_id), Chunk.owner_id == owner_id, Chunk.model == CAPABILITIES["embeddings"][1], Chunk.is_served
        )
        .group_by(Video.id)
        .order_by(Video.created_at, Video.id)
    ).all()


def _mine(owner_id: UUID) -> tuple[sa.ColumnElement[bool], ...]:
    return Video.owner_id == owner_id, Video.deleted_at.is_(None), Video.status.in_(FINAL)
