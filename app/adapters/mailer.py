"""Outgoing mail: Resend with a key, else an outbox (a table, a page and a log line).

Every mail has an idempotency key and a row in the table `mail`, written before the call, so nothing is ever
sent twice for one key: a key that was sent is not sent again, and one whose process died between the call and
its commit goes out again under the same key, which Resend answers from memory for 24 hours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Protocol, cast
from uuid import UUID

import sqlalchemy as sa
from flask import current_app, render_template
from sqlalchemy.dialects.postgresql import insert

from app import log
from app.adapters.outbox import DONE, MailRow, forget_secrets
from app.db import separately
from app.errors import Permanent, Transient
from app.lib.clock import now
from app.lib.ids import new_id
from app.lib.outside import before_outside_call
from app.settings import Settings

logger = log.get(__name__)

EXTENSION = "throughline.mailer"
TIMEOUT_SECONDS = 10
PROVIDER_REMEMBERS = timedelta(hours=23)  # Resend keeps idempotency keys for 24 h; an hour for clocks and queues
TRANSIENT_STATUSES = (408, 425, 429)


@dataclass(frozen=True)
class Mail:
    """A mail to one person. `is_secret`: its text holds a link or code that must not be kept."""

    to: str
    subject: str
    text: str = field(repr=False)
    html: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    is_secret: bool = False


class Mailer(Protocol):
    """Something that sends mails, at most once for each key."""

    is_local: bool  # sending only writes to our own database, so it may happen inside a request

    def send(self, mail: Mail, *, idempotency_key: str) -> None:
        """Send `mail` unless that key has been sent.

        Raises:
            Transient: try again later (the provider is down or slow, or asks to wait: `retry_after`).
            Permanent: the provider refuses this mail, or it cannot be known whether it went out.
        """


class OutboxMailer:
    """Keeps mails in the table for the outbox page: development without a Resend key."""

    is_local = True

    def send(self, mail: Mail, *, idempotency_key: str) -> None:
        """Put the mail into the outbox; the log names it without its secrets."""
        before_outside_call()
        with separately() as session:
            forget_secrets(session)
            values = _values(mail, idempotency_key) | {"status": "outbox", "sent_at": now()}
            added = session.scalar(_insert(values))
        if added:
            logger.info("mail.in_outbox", mail_id=str(added), subject=mail.subject, see="/dev/outbox")


class ResendMailer:
    """Sends through Resend. Without retries of its own: whoever calls decides when to try again."""

    is_local = False

    def __init__(self, settings: Settings) -> None:
        import resend

        # The SDK keeps these per module: one process talks to one Resend account.
        resend.api_key = settings.resend_api_key
        if settings.resend_api_url:
            resend.api_url = settings.resend_api_url.rstrip("/")
        resend.default_http_client = resend.RequestsClient(timeout=TIMEOUT_SECONDS)
        self._from = settings.mail_from

    def send(self, mail: Mail, *, idempotency_key: str) -> None:
        """Send through Resend and note the outcome in the table.

        Gap: a mail whose outcome stayed unknown for 23 hours is not tried again, since Resend would no longer
        recognise the key: it may never have gone out.
        """
        before_outside_call()
        mail_id, as_first_tried = _claim(mail, idempotency_key)
        if mail_id is None:
            return
        try:
            provider_id = self._call(as_first_tried, idempotency_key)
        except (Transient, Permanent) as error:
            _note(mail_id, status="failed" if isinstance(error, Permanent) else "sending", error=error.message[:300])
            raise
        _note(mail_id, status="sent", provider_id=provider_id, sent_at=now(), error=None)
        logger.info("mail.sent", mail_id=str(mail_id))

    def _call(self, mail: Mail, idempotency_key: str) -> str:
        import resend
        from resend.exceptions import NoContentError, ResendError

        message: dict[str, Any] = {
            "from": self._from,
            "to": [mail.to],
            "subject": mail.subject,
            "text": mail.text,
            "html": mail.html,
        }
        if mail.headers:
            message["headers"] = dict(mail.headers)
        try:
            answer = resend.Emails.send(cast("Any", message), {"idempotency_key": idempotency_key})
        except ResendError as error:
            raise _translate(error) from error
        except NoContentError as error:
            raise Transient("The mail service gave an empty answer. It will be tried again.") from error
        return str(answer.get("id", ""))


class FakeMailer:
    """Remembers what was sent; `failure` is raised instead when set. For tests."""

    is_local = True

    def __init__(self) -> None:
        self.sent: list[Mail] = []
        self.keys: list[str] = []
        self.failure: Exception | None = None

    def send(self, mail: Mail, *, idempotency_key: str) -> None:
        """Remember the mail, once for each key."""
        before_outside_call()
        if self.failure is not None:
            raise self.failure
        if idempotency_key not in self.keys:
            self.keys.append(idempotency_key)
            self.sent.append(mail)


def from_settings(settings: Settings) -> Mailer:
    """Return Resend when there is a key, else the outbox."""
    return ResendMailer(settings) if settings.resend_api_key else OutboxMailer()


def mailer() -> Mailer:
    """Return the mailer of the current app."""
    return cast("Mailer", current_app.extensions[EXTENSION])


def compose(
    name: str, *, to: str, headers: Mapping[str, str] | None = None, is_secret: bool = False, **context: Any
) -> Mail:
    """Render `templates/emails/<name>/{subject.txt,body.txt,body.html}` into a mail.

    Works without a request (in workers), so links must be absolute: `app.web.absolute_url`.
    """
    subject = " ".join(render_template(f"emails/{name}/subject.txt", **context).split())
    text = render_template(f"emails/{name}/body.txt", subject=subject, **context).strip() + "\n"
    html = render_template(f"emails/{name}/body.html", subject=subject, **context)
    return Mail(to=to, subject=subject[:300], text=text, html=html, headers=headers or {}, is_secret=is_secret)


def _values(mail: Mail, idempotency_key: str) -> dict[str, Any]:
    return {
        "id": new_id(),
        "idempotency_key": idempotency_key,
        "to": mail.to,
        "subject": mail.subject,
        "text": mail.text,
        "html": mail.html,
        "headers": dict(mail.headers),
        "is_secret": mail.is_secret,
        "created_at": now(),
    }


def _insert(values: dict[str, Any]) -> Any:
    return (
        insert(MailRow)
        .values(**values)
        .on_conflict_do_nothing(index_elements=[MailRow.idempotency_key])
        .returning(MailRow.id)
    )


def _claim(mail: Mail, idempotency_key: str) -> tuple[UUID | None, Mail]:
    """Write the row before the call; return (None, ...) when this key is done.

    A later try sends what the first one tried, since Resend refuses a key that comes with other content.
    """
    values = _values(mail, idempotency_key) | {"status": "sending"}
    if mail.is_secret:
        values |= {"text": "", "html": ""}  # the link and code stay out of the database
    with separately() as session:
        added = session.scalar(_insert(values))
        if added:
            return added, mail
        row = session.scalars(sa.select(MailRow).where(MailRow.idempotency_key == idempotency_key)).one()
    if row.status in DONE:
        return None, mail
    if row.status == "sending" and row.created_at < now() - PROVIDER_REMEMBERS:
        raise Permanent("It is not known whether this mail went out, and it is too late to ask. It was not repeated.")
    if row.is_secret:
        return row.id, mail
    return row.id, replace(mail, to=row.to, subject=row.subject, text=row.text, html=row.html, headers=row.headers)


def _note(mail_id: UUID, **values: Any) -> None:
    with separately() as session:
        session.execute(sa.update(MailRow).where(MailRow.id == mail_id).values(**values))


def _translate(error: Any) -> Transient | Permanent:
    """Map an error of Resend's SDK (codes: https://resend.com/docs/api-reference/errors)."""
    code = int(error.code) if str(error.code).isdigit() else 500
    logger.warning("mail.refused", status=code, error=str(error.error_type))
    if code in TRANSIENT_STATUSES or code >= 500 or error.error_type == "concurrent_idempotent_requests":  # noqa: PLR2004
        headers = {name.lower(): value for name, value in (error.headers or {}).items()}
        wait = headers.get("retry-after", "")
        return Transient(
            "The mail service cannot take mails right now. It will be tried again.",
            retry_after=float(wait) if wait.isdigit() else None,
        )
    return Permanent("The mail service refused this mail. Check the address, the sender and the key in the settings.")
