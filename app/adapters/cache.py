"""Answers of models, kept for a day: an identical call of the same person is not paid twice.

What it is for is the moment between a paid call and the commit of the step that made it; a run that is repeated
within a day gains too. A row is a hint: losing it costs one more call.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapped, mapped_column

from app import log
from app.db import Base, separately
from app.lib.clock import now

logger = log.get(__name__)

KEPT_FOR = timedelta(days=1)
FORMAT = b"2"  # another one after each change of what is kept


class CachedAnswer(Base):
    """One answer of one model to one person, compressed JSON."""

    __tablename__ = "model_cache"
    __table_args__ = (
        # Expired answers of one person are dropped when a new one is kept.
        sa.Index("ix_model_cache_owner_expires", "owner_id", "expires_at"),
    )

    owner_id: Mapped[UUID] = mapped_column(sa.ForeignKey("user.id", ondelete="CASCADE"), primary_key=True)
    request_hash: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    answer: Mapped[bytes] = mapped_column(sa.LargeBinary)
    expires_at: Mapped[datetime]


def hash_of(request: Mapping[str, Any], content: bytes = b"") -> str:
    """Return the SHA-256 (hexadecimal) of a request's fields and its file."""
    digest = hashlib.sha256(FORMAT + json.dumps(request, sort_keys=True, ensure_ascii=True).encode())
    digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


def find(owner_id: UUID | None, request_hash: str) -> Any | None:
    """Return the kept answer to the same request of the same person, or None."""
    if owner_id is None:
        return None
    statement = sa.select(CachedAnswer.answer).where(
        CachedAnswer.owner_id == owner_id,
        CachedAnswer.request_hash == request_hash,
        CachedAnswer.expires_at > now(),
    )
    with separately() as session:
        found = session.scalar(statement)
    return None if found is None else json.loads(zlib.decompress(found))


def billed(kept: Mapping[str, Any], paid_as: str) -> float:
    """Return what the call `paid_as` has to pay for a kept answer: what it did pay for it, or nothing.

    A process may have died between the answer and its metering; whoever meters counts one call once.
    """
    return float(kept["billed"]) if paid_as and kept["paid_as"] == paid_as else 0.0


def keep(owner_id: UUID | None, request_hash: str, answer: Any) -> None:
    """Keep an answer for KEPT_FOR and drop this person's expired ones; a failure is logged and costs nothing else."""
    if owner_id is None:
        return
    packed = zlib.compress(json.dumps(answer).encode(), 3)
    values = {
        "owner_id": owner_id,
        "request_hash": request_hash,
        "answer": packed,
        "expires_at": now() + KEPT_FOR,
    }
    statement = insert(CachedAnswer).values(**values)
    changed = {"answer": packed, "expires_at": values["expires_at"]}
    try:
        with separately() as session:
            session.execute(
                sa.delete(CachedAnswer).where(CachedAnswer.owner_id == owner_id, CachedAnswer.expires_at <= now())
            )
            session.execute(statement.on_conflict_do_update(index_elements=["owner_id", "request_hash"], set_=changed))
    except SQLAlchemyError as error:
        logger.warning("models.cache_failed", error=type(error).__name__)  # the answer is paid for and goes on its way


def forget(owner_id: UUID) -> None:
    """Drop every kept answer of one person, in a transaction of its own.

    What they were about is not known here, so deleting one video drops all; the price is at most one more call for
    each step under way.
    """
    with separately() as session:
        session.execute(sa.delete(CachedAnswer).where(CachedAnswer.owner_id == owner_id))


def forget_expired() -> int:
    """Drop everybody's expired answers, in a transaction of its own; return how many there were."""
    with separately() as session:
        gone = session.execute(sa.delete(CachedAnswer).where(CachedAnswer.expires_at <= now()))
    return int(gone.rowcount)  # type: ignore[attr-defined]
