"""The addresses of a share link: its page, and the files that the page plays. Signed; nothing secret is stored."""

from __future__ import annotations

import base64
import binascii
import hmac
import time
from uuid import UUID

from itsdangerous import BadData, Signer, URLSafeSerializer

from app.lib.ids import parse_id
from app.web import absolute_url, settings

FILES = ("source", "rendition", "poster", "transcript")
FILE_LIVES_SECONDS = 12 * 3600  # longer than the longest talk, so that nothing stops while it is watched
_ROUNDED_SECONDS = 3600  # a page that is loaded again names the same addresses, so the browser keeps what it has


def page_token(share_id: UUID) -> str:
    """Return what stands in the address of a share's page; always the same for one share."""
    return _page_signer().sign(base64.urlsafe_b64encode(share_id.bytes).rstrip(b"=")).decode()


def page_url(share_id: UUID) -> str:
    """Return the absolute address that its owner hands out."""
    return absolute_url("videos.shared", token=page_token(share_id))


def read_page_token(token: str) -> UUID | None:
    """Return the share that an address names, None when it is forged; whether it is still open is another question."""
    try:
        share_id = UUID(bytes=base64.urlsafe_b64decode(_page_signer().unsign(token) + b"=="))
    except (BadData, ValueError, binascii.Error):
        return None
    # Base64 spells the same bytes in more than one way; only the spelling that was handed out is an address.
    return share_id if hmac.compare_digest(page_token(share_id), token) else None


def file_token(share_id: UUID, kind: str) -> str:
    """Return what stands in the address of one of the files behind a share, for about FILE_LIVES_SECONDS."""
    hour = int(time.time()) // _ROUNDED_SECONDS * _ROUNDED_SECONDS
    return str(_file_signer().dumps([str(share_id), kind, hour + _ROUNDED_SECONDS + FILE_LIVES_SECONDS]))


def read_file_token(token: str) -> tuple[UUID, str] | None:
    """Return the share and the kind of file that an address names, None when it is forged or too old."""
    try:
        identity, kind, until = _file_signer().loads(token)
    except (BadData, ValueError, TypeError):
        return None
    share_id = parse_id(identity)
    return (share_id, kind) if share_id and kind in FILES and until > time.time() else None


def _page_signer() -> Signer:
    return Signer(settings().secret_key, salt="videos.share")


def _file_signer() -> URLSafeSerializer:
    return URLSafeSerializer(settings().secret_key, salt="videos.share.file")
