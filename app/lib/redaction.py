"""What must not be read in a log: values whose name says that they are secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SECRET_WORDS = ("password", "secret", "token", "api_key", "authorization", "cookie", "code")
HIDDEN = "[hidden]"


def hide_secrets(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return `fields` with the values hidden whose name holds one of SECRET_WORDS, also in mappings inside.

    Whole numbers stay: they count tokens, and name status codes.
    """
    return {name: _hide(str(name), value) for name, value in fields.items()}


def _hide(name: str, value: Any) -> Any:
    if any(word in name.lower() for word in SECRET_WORDS) and not isinstance(value, int):
        return HIDDEN
    return hide_secrets(value) if isinstance(value, Mapping) else value
