"""Secrets that we hand out, and what we keep of them."""

from __future__ import annotations

import hashlib
import hmac
import secrets


def new_secret() -> str:
    """Return 43 URL-safe characters holding 256 random bits."""
    return secrets.token_urlsafe(32)


def fingerprint(secret: str) -> str:
    """Return the SHA-256 of a high-entropy secret in hexadecimal (64 characters): what the database keeps."""
    return hashlib.sha256(secret.encode()).hexdigest()


def keyed_fingerprint(key: str, *parts: str) -> str:
    """Return an HMAC-SHA-256 over `parts` in hexadecimal (64 characters).

    For secrets that could be guessed from a plain hash (a six-digit code has a million values): without
    `key`, which is not in the database, the stored value says nothing. Parts are length-prefixed so that
    different parts never give the same message.
    """
    message = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
    return hmac.new(key.encode(), message, hashlib.sha256).hexdigest()
