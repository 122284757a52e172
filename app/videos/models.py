"""Tables of videos, uploads, transcripts and chunks."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy.dialects.postgresql import ARRAY, TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base
from app.lib.clock import now
from app.lib.ids import new_id

DIMENSIONS = 1536
STATUSES = ("pending", "transcribing", "processing", "embedding", "completed", "failed", "cancelled")
RENDITION_STATUSES = ("making", "ready", "failed")
SOURCES = ("model", "captions", "edit", "import", "restore")
TRANSCRIBED = ("model", "captions")  # what transcribe runs make
NOTICE_KINDS = ("ready", "failed")
FINAL = ("completed", "failed", "cancelled")


# The words of a chunk and, as one more of them, its owner: so the index itself leaves other people's chunks out.
SEARCH = "to_tsvector('simple', search_text) || array_to_tsvector(ARRAY['o' || replace(owner_id::text, '-', '')])"


def owner_lexeme(owner_id: UUID) -> str:
    """Return the word that stands for a person in the index of words."""
    return f"o{owner_id.hex}"


def _one_of(column: str, values: tuple[str, ...]) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=column)


class Video(Base):
    """One uploaded file and what became of it. Status changes are compare-and-set (statuses.move)."""

    __tablename__ = "video"
    __table_args__ = (
        _one_of("status", STATUSES),
        _one_of("rendition_status", RENDITION_STATUSES),
        # The library: one person's videos, newest first.
        sa.Index("ix_video_owner_created", "owner_id", sa.text("created_at DESC"), sa.text("id DESC")),
        # The few that may still be brought back: search leaves their chunks out.
        sa.Index("ix_video_deleted", "owner_id", postgresql_where=sa.text("deleted_at IS NOT NULL")),
        # "You already have this one": the same content of one person.
        sa.Index("ix_video_owner_hash", "owner_id", "content_hash"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    owner_id: Mapped[UUID] = mapped_column(sa.ForeignKey("user.id", ondelete="CASCADE"))
    title: Mapped[str] = mapped_column(sa.String(300))
    description: Mapped[str] = mapped_column(sa.Text, default="")
    original_filename: Mapped[str] = mapped_column(sa.String(300))
    language: Mapped[str] = mapped_column(sa.String(20), default="en")
    vocabulary: Mapped[str] = mapped_column(sa.String(1000), default="")
    tags: Mapped[list[str]] = mapped_column(ARRAY(sa.String(60)), default=list)
    status: Mapped[str] = mapped_column(sa.String(20), default="pending")
    error_code: Mapped[str | None] = mapped_column(sa.String(100))
    error_message: Mapped[str | None] = mapped_column(sa.Text)  # a sentence for the person: what to do

    storage_key: Mapped[str] = mapped_column(sa.String(300), unique=True)
    captions_key: Mapped[str | None] = mapped_column(sa.String(300))  # a caption file uploaded beside it
    # The text tracks inside the file: `[{index, language, title}]`, as text_tracks.listed.
    text_tracks: Mapped[list[Any]] = mapped_column(default=list, server_default="[]")
    poster_key: Mapped[str | None] = mapped_column(sa.String(300))
    # A copy that browsers play where the original is not; no status: none is needed, or none was asked for.
    rendition_status: Mapped[str | None] = mapped_column(sa.String(20))
    rendition_key: Mapped[str | None] = mapped_column(sa.String(300))
    rendition_type: Mapped[str | None] = mapped_column(sa.String(100))
    rendition_bytes: Mapped[int] = mapped_column(sa.BigInteger, default=0, server_default="0")
    rendition_error: Mapped[str | None] = mapped_column(sa.Text)  # a sentence for the person
    waveform: Mapped[list[Any] | None]  # up to 1,000 peaks between 0 and 1

    media_type: Mapped[str] = mapped_column(sa.String(100))
    size_bytes: Mapped[int] = mapped_column(sa.BigInteger)
    content_hash: Mapped[str] = mapped_column(sa.String(64))  # SHA-256, hexadecimal
    duration_seconds: Mapped[float]
    container: Mapped[str] = mapped_column(sa.String(60))
    video_codec: Mapped[str | None] = mapped_column(sa.String(60))
    audio_codec: Mapped[str | None] = mapped_column(sa.String(60))
    width: Mapped[int | None]
    height: Mapped[int | None]

    transcript_id: Mapped[UUID | None]  # the transcript shown now
    created_at: Mapped[datetime] = mapped_column(default=now)
    status_changed_at: Mapped[datetime] = mapped_column(default=now)
    changed_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)  # anything of it, for the library's order
    deleted_at: Mapped[datetime | None]


class Upload(Base):
    """A file on its way in (tus or a form): the bytes so far lie in a local file named by the id.

    Its length counts against the owner's quota until it has become a video. `video_id` is set before that video's
    files are stored, so that what a crash leaves behind can be found and removed.
    """

    __tablename__ = "upload"
    __table_args__ = (
        # How many uploads a person has under way; expiry.
        sa.Index("ix_upload_owner", "owner_id"),
        sa.Index("ix_upload_expires", "expires_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    owner_id: Mapped[UUID] = mapped_column(sa.ForeignKey("user.id", ondelete="CASCADE"))
    filename: Mapped[str] = mapped_column(sa.String(300))
    length_bytes: Mapped[int] = mapped_column(sa.BigInteger)
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict)
    video_id: Mapped[UUID | None]  # the video that it becomes or has become
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]


class Transcript(Base):
    """One version of a video's transcript; a new transcription, edit, import or restore makes a new one.

    `model` is the one whose words it holds, also after edits: what the sandbox heard stays a rough draft.
    """

    __tablename__ = "transcript"
    __table_args__ = (
        _one_of("source", SOURCES),
        sa.UniqueConstraint("video_id", "number"),
        # A transcribe run saves its transcript once, however often its step is tried.
        sa.UniqueConstraint("run_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    video_id: Mapped[UUID] = mapped_column(sa.ForeignKey("video.id", ondelete="CASCADE"))
    number: Mapped[int]  # 1, 2, ... within the video
    source: Mapped[str] = mapped_column(sa.String(20))
    model: Mapped[str] = mapped_column(sa.String(100), default="")
    language: Mapped[str] = mapped_column(sa.String(20))
    run_id: Mapped[UUID | None]
    base_id: Mapped[UUID | None]  # the version that an edit or restore began with; it may have been removed since
    note: Mapped[str] = mapped_column(
        sa.String(300), default="", server_default=""
    )  # what was done, for the list of versions
    created_at: Mapped[datetime] = mapped_column(default=now)


class Segment(Base):
    """One cue: at most 42 characters a line, two lines, 5.5 seconds."""

    __tablename__ = "segment"
    __table_args__ = (sa.CheckConstraint("end_seconds >= start_seconds AND start_seconds >= 0", name="times"),)

    transcript_id: Mapped[UUID] = mapped_column(sa.ForeignKey("transcript.id", ondelete="CASCADE"), primary_key=True)
    index: Mapped[int] = mapped_column(primary_key=True)
    start_seconds: Mapped[float]
    end_seconds: Mapped[float]
    text: Mapped[str] = mapped_column(sa.Text)
    speaker: Mapped[str | None] = mapped_column(sa.String(100))
    confidence: Mapped[float | None]
    words: Mapped[list[Any]] = mapped_column(default=list)  # [[word, start, end, confidence or null], ...]
    flags: Mapped[list[Any]] = mapped_column(default=list)  # "repeat", "over-silence"


class Chunk(Base):
    """500-1000 words of a transcript with the start and end of its own words, and its vector."""

    __tablename__ = "chunk"
    __table_args__ = (
        # A run builds its set once; the set served now stays beside it until the new one is complete.
        sa.UniqueConstraint("transcript_id", "run_id", "index"),
        # Vector search up to 10,000 chunks of one person: all are compared.
        sa.Index("ix_chunk_owner_model", "owner_id", "model"),
        # Vector search beyond: walked until enough of the person's own were met (docs/decisions/0052).
        sa.Index(
            "ix_chunk_embedding",
            "embedding",
            postgresql_using="hnsw",
            postgresql_ops={"embedding": "halfvec_cosine_ops"},
            postgresql_where=sa.text("is_served"),
        ),
        # Word search.
        sa.Index("ix_chunk_search", "search", postgresql_using="gin"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    owner_id: Mapped[UUID] = mapped_column(sa.ForeignKey("user.id", ondelete="CASCADE"))
    video_id: Mapped[UUID] = mapped_column(sa.ForeignKey("video.id", ondelete="CASCADE"), index=True)
    transcript_id: Mapped[UUID] = mapped_column(sa.ForeignKey("transcript.id", ondelete="CASCADE"))
    run_id: Mapped[UUID]  # the run that made it
    index: Mapped[int]
    text: Mapped[str] = mapped_column(sa.Text)
    start_seconds: Mapped[float]
    end_seconds: Mapped[float]
    first_segment: Mapped[int]
    last_segment: Mapped[int]
    words: Mapped[int]
    model: Mapped[str] = mapped_column(sa.String(100))  # the model whose vector this is or will be
    embedding: Mapped[Any | None] = mapped_column(HALFVEC(DIMENSIONS))  # kept in the row itself (STORAGE PLAIN)
    is_served: Mapped[bool] = mapped_column(default=False)  # false until the whole set has its vectors
    search_text: Mapped[str] = mapped_column(sa.Text)  # the words as search compares them (search.search_text)
    search: Mapped[Any] = mapped_column(TSVECTOR, sa.Computed(SEARCH, persisted=True))
    created_at: Mapped[datetime] = mapped_column(default=now)


class Outline(Base):
    """What a model wrote about a video: a title to suggest, a summary, and chapters."""

    __tablename__ = "outline"

    video_id: Mapped[UUID] = mapped_column(sa.ForeignKey("video.id", ondelete="CASCADE"), primary_key=True)
    transcript_id: Mapped[UUID]  # what it was written from
    title: Mapped[str] = mapped_column(sa.String(300), default="")
    summary: Mapped[str] = mapped_column(sa.Text, default="")
    chapters: Mapped[list[Any]] = mapped_column(default=list)  # [{"segment", "start_seconds", "title"}, ...]
    model: Mapped[str] = mapped_column(sa.String(100))
    run_id: Mapped[UUID]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Share(Base):
    """A read-only link to one video for whoever has it. The link is signed, so nothing secret is kept here."""

    __tablename__ = "share"
    __table_args__ = (
        # One open link for each video.
        sa.Index("uq_share_video_open", "video_id", unique=True, postgresql_where=sa.text("revoked_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    owner_id: Mapped[UUID] = mapped_column(sa.ForeignKey("user.id", ondelete="CASCADE"))
    video_id: Mapped[UUID] = mapped_column(sa.ForeignKey("video.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(default=now)
    revoked_at: Mapped[datetime | None]
    visits: Mapped[int] = mapped_column(default=0)
    last_visit_at: Mapped[datetime | None]


class Notice(Base):
    """One ended run of a video that its owner is to be told of; several are told of in one mail."""

    __tablename__ = "notice"
    __table_args__ = (
        _one_of("kind", NOTICE_KINDS),
        # A run that ended is told of once.
        sa.UniqueConstraint("run_id", "kind"),
        # What one person has not been told of yet.
        sa.Index("ix_notice_unsent", "owner_id", postgresql_where=sa.text("sent_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    owner_id: Mapped[UUID] = mapped_column(sa.ForeignKey("user.id", ondelete="CASCADE"))
    video_id: Mapped[UUID] = mapped_column(sa.ForeignKey("video.id", ondelete="CASCADE"), index=True)
    run_id: Mapped[UUID]
    kind: Mapped[str] = mapped_column(sa.String(20))
    error: Mapped[str] = mapped_column(sa.Text, default="")
    created_at: Mapped[datetime] = mapped_column(default=now)
    sent_at: Mapped[datetime | None]  # when it was taken for a mail; those of one mail have the same moment
