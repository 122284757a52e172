"""Input of this room's forms: validated values, or Invalid with a sentence for each field."""

from __future__ import annotations

from collections.abc import Mapping

from app.errors import Invalid
from app.lib.email import normalise_email

CODE_DIGITS = 6


def read_email(form: Mapping[str, str]) -> str:
    """Return the normalised address of a form.

    Raises:
        Invalid: there is none, or it is none.
    """
    email = normalise_email(form.get("email", ""))
    if email is None:
        raise Invalid("That is not an e-mail address.", {"email": "Write your address like name@example.org."})
    return email


def read_code(form: Mapping[str, str]) -> str:
    """Return the six digits of a form; spaces and dashes between them do not matter.

    Raises:
        Invalid: not six digits. Such a slip does not count as a try.
    """
    code = "".join(character for character in form.get("code", "")[:40] if character not in " -\u00a0\t")
    if len(code) != CODE_DIGITS or not (code.isascii() and code.isdigit()):
        raise Invalid("That is not a code.", {"code": "The code has six digits, like 042 137."})
    return code
