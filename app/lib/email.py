"""E-mail addresses: one spelling for one mailbox."""

from __future__ import annotations

from email_validator import EmailNotValidError, validate_email

LONGEST = 320


def normalise_email(text: str) -> str | None:
    """Return the address in lower case with its domain in ASCII, or None when it is none.

    Names without a dot are refused except `localhost`. Reserved domains (`.test`, `.local`) are accepted:
    a mail to them goes nowhere, which is the sender's business. Nothing is looked up.
    """
    text = text.strip()
    local, at, domain = text.rpartition("@")
    if not at or len(text) > LONGEST or ("." not in domain and domain.lower() != "localhost"):
        return None
    # The library refuses reserved domains; below a harmless parent only the spelling is checked.
    try:
        found = validate_email(f"{local}@{domain}.example.com", check_deliverability=False, allow_smtputf8=False)
    except EmailNotValidError:
        return None
    return f"{found.local_part}@{found.ascii_domain.removesuffix('.example.com')}".lower()
