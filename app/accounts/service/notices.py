"""Which mails a person wants, and the link in each that ends them."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from itsdangerous import BadData, URLSafeSerializer
from sqlalchemy.dialects.postgresql import insert

from app.accounts.models import NOTICES, NoticePreference, User
from app.db import db
from app.errors import NotFound
from app.lib.clock import now
from app.lib.ids import parse_id
from app.web import absolute_url, settings

EVERY_KIND = "all"  # what a mail about several kinds is ended by


def choose_notices(user_id: UUID, wanted: Collection[str]) -> None:
    """Keep which kinds of notice a person wants; every kind not in `wanted` is off."""
    for kind in NOTICES:
        _set(user_id, kind, is_wanted=kind in wanted)


def unsubscribe_url(user_id: UUID, kind: str) -> str:
    """Return the absolute address that ends a kind of notice, or EVERY_KIND, without signing in. It never expires."""
    return absolute_url("accounts.unsubscribe", token=_signer().dumps([str(user_id), kind]))


def notice_headers(user_id: UUID, kind: str) -> dict[str, str]:
    """Return the mail headers by which mail programs offer their own unsubscribe button (RFC 8058)."""
    return {
        "List-Unsubscribe": f"<{unsubscribe_url(user_id, kind)}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


def read_unsubscribe_token(token: str) -> tuple[User, str]:
    """Return the person and kind that an unsubscribe link names.

    Raises:
        NotFound: forged, damaged, or the person is gone.
    """
    try:
        user_id, kind = _signer().loads(token)
    except (BadData, ValueError, TypeError):
        raise NotFound from None
    identity = parse_id(str(user_id))
    user = db.session.get(User, identity) if identity else None
    if user is None or kind not in (*NOTICES, EVERY_KIND):
        raise NotFound
    return user, str(kind)


def unsubscribe(token: str) -> str:
    """End the notices that a link names and return their kind.

    Raises:
        NotFound: forged, damaged, or the person is gone.
    """
    user, kind = read_unsubscribe_token(token)
    for each in NOTICES if kind == EVERY_KIND else (kind,):
        _set(user.id, each, is_wanted=False)
    return kind


def _set(user_id: UUID, kind: str, *, is_wanted: bool) -> None:
    values = {"is_wanted": is_wanted, "changed_at": now()}
    db.session.execute(
        insert(NoticePreference)
        .values(user_id=user_id, kind=kind, **values)
        .on_conflict_do_update(index_elements=[NoticePreference.user_id, NoticePreference.kind], set_=values)
    )


def _signer() -> URLSafeSerializer:
    return URLSafeSerializer(settings().secret_key, salt="unsubscribe")
