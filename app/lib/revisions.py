"""Which database revision a folder of migrations leads to, found without importing Alembic (0.7 s)."""

from __future__ import annotations

import re
from pathlib import Path

_REVISION = re.compile(r"^revision\b[^=\n]*=\s*[\"'](\w+)[\"']", re.MULTILINE)
_PARENT = re.compile(r"^down_revision\b[^=\n]*=\s*[\"'](\w+)[\"']", re.MULTILINE)


def newest(folder: Path) -> str:
    """Return the revision that no other one in `folder` follows.

    Raises:
        ValueError: there is none, or more than one.
    """
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py"))]
    made = {found[1] for found in map(_REVISION.search, texts) if found}
    followed = {found[1] for found in map(_PARENT.search, texts) if found}
    heads = made - followed
    if len(heads) != 1:
        raise ValueError(
            f"{folder} has {len(heads)} newest migrations ({', '.join(sorted(heads))}); there must be one."
        )
    return heads.pop()
