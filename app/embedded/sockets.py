"""Where unix sockets go: not every path will do, so some data folders get a stand-in with a short name.

A path over 107 bytes cannot be bound. Redis repeats its path in what it says of a client, as one of many
`name=value`: with a blank or an equals sign in it RQ could not read that, nor serve its queue.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path

from app.embedded import accounts
from app.embedded.errors import CannotStart

LONGEST_PATH = 107  # bytes of sun_path, less its closing zero
_UNREADABLE = re.compile(r"[\s=]")


def socket_folder(wanted: Path, *, longest: str) -> Path:
    """Return `wanted`, or a private folder with a short name when `wanted/longest` cannot be used.

    The short one's name follows from `wanted`, so every command of the same data folder finds the same.

    Raises:
        CannotStart: somebody else made the short folder.
    """
    if len(os.fsencode(wanted / longest)) <= LONGEST_PATH and not _UNREADABLE.search(str(wanted)):
        return wanted
    name = hashlib.sha256(os.fsencode(wanted)).hexdigest()[:16]
    short = Path(tempfile.gettempdir()) / f"throughline-{name}"
    account = accounts.service_account()
    owner = account.pw_uid if account else os.geteuid()
    if os.path.lexists(short) and short.lstat().st_uid not in (owner, os.geteuid()):
        raise CannotStart(f"{short} was made by somebody else. Remove it, or choose a shorter THROUGHLINE_DATA.")
    return short
