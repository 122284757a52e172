"""The one error of starting: its message is the sentence that the person at the terminal reads."""

from __future__ import annotations


class CannotStart(Exception):
    """Throughline cannot start here; the message says why and what to do."""


def no_space(path: object) -> CannotStart:
    """Return the error for a disk that is full."""
    return CannotStart(
        f"The disk that holds {path} is full. Free some space there, "
        "or choose another folder with THROUGHLINE_DATA=/some/folder."
    )
