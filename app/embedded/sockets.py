"""Where unix sockets go: a path over 107 bytes cannot be bound, so a deep data folder gets a short stand-in."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from app.embedded import accounts
from app.embedded.errors import CannotStart

LONGEST_PATH = 107  # bytes of sun_path, less its closing zero


def socket_folder(wanted: Path, *, longest: str) -> Path:
    """Return `wanted`, or a private folder with a short name when `wanted/longest` would be too long.

    The short one's name follows from `wanted`, so every command of the same data folder finds the same.

    Raises:
        CannotStart: somebody else made the short folder.
    """
    if len(os.fsencode(wanted / longest)) <= LONGEST_PATH:
        return wanted
    name = hashlib.sha256(os.fsencode(wanted)).hexdigest()[:16]
    short = Path(tempfile.gettempdir()) / f"throughline-{name}"
    account = accounts.service_account()
    owner = account.pw_uid if account else os.geteuid()
    if short.exists() and short.lstat().st_uid not in (owner, os.geteuid()):
        raise CannotStart(f"{short} was made by somebody else. Remove it, or choose a shorter THROUGHLINE_DATA.")
    return short
