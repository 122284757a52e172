"""Input of this room's forms: validated values, or Invalid with a sentence for each field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

from app.errors import Invalid
from app.lib.email import normalise_email

CODE_DIGITS = 6
DOLLAR_MICROUSD, GIGABYTE = 1_000_000, 1_000_000_000
MOST_DOLLARS, MOST_GIGABYTES = 1_000_000, 100_000
_AMOUNT = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")


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


def read_limits(form: Mapping[str, str]) -> tuple[int | None, int | None]:
    """Return a month's budget (micro-USD) and the room for files (bytes); None where the field was left empty.

    Raises:
        Invalid: one of them is no amount, or too large; the fields say which.
    """
    errors: dict[str, str] = {}
    budget = _read_amount(form, "budget", MOST_DOLLARS, "Write dollars like 25 or 12.50", errors)
    storage = _read_amount(form, "storage", MOST_GIGABYTES, "Write gigabytes like 50 or 0.5", errors)
    if errors:
        raise Invalid("These limits cannot be used.", errors)
    return (
        None if budget is None else int(budget * DOLLAR_MICROUSD),
        None if storage is None else int(storage * GIGABYTE),
    )


def write_limits(budget_microusd: int | None, storage_quota_bytes: int | None) -> dict[str, str]:
    """Return limits as the fields of their form show them."""
    return {
        "budget": _write_amount(budget_microusd, DOLLAR_MICROUSD),
        "storage": _write_amount(storage_quota_bytes, GIGABYTE),
    }


def _read_amount(form: Mapping[str, str], name: str, most: int, example: str, errors: dict[str, str]) -> Decimal | None:
    text = form.get(name, "")[:60].strip().removeprefix("$").strip()
    if not text:
        return None
    if not _AMOUNT.fullmatch(text):
        errors[name] = f"{example}; nothing below zero, no commas. Leave it empty for the usual amount."
    elif Decimal(text) > most:
        errors[name] = f"Use at most {most:,}."
    else:
        return Decimal(text)
    return None


def _write_amount(value: int | None, unit: int) -> str:
    return "" if value is None else f"{Decimal(value) / unit:f}"
