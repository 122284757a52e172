"""Mails that a request sends itself: signing in and inviting cannot wait for a worker."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

from flask import Flask, current_app

from app import log
from app.adapters.mailer import Mail, mailer

logger = log.get(__name__)
_SENDERS = 4


def deliver(mail: Mail, *, idempotency_key: str) -> None:
    """Send `mail` without letting the caller's answer tell anything about it; call it after the commit.

    A mailer that only writes to our database is called at once. A real one is called by a thread, for at most
    its own timeout: so the answer takes equally long whether or not somebody is written to. A failure is
    logged, and the person, told to look into their mail, asks for another one.
    """
    if mailer().is_local:
        _send(mail, idempotency_key)
        return
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    _pool().submit(_send_in_thread, app, mail, idempotency_key)


def wait_for_delivery() -> None:
    """Return when every mail handed to the threads so far has been tried (for tests and shutting down)."""
    _pool().shutdown(wait=True)
    _pool.cache_clear()


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    # Made on first use, so that a web server which forks does so before there are threads.
    return ThreadPoolExecutor(_SENDERS, thread_name_prefix="mail")


def _send_in_thread(app: Flask, mail: Mail, idempotency_key: str) -> None:
    with app.app_context():
        _send(mail, idempotency_key)


def _send(mail: Mail, idempotency_key: str) -> None:
    try:
        mailer().send(mail, idempotency_key=idempotency_key)
    except Exception as error:  # noqa: BLE001  (an after-commit wall: whatever fails here must not show in the answer)
        # Its class alone: a database error's text may repeat the mail, and with it the link.
        logger.error("mail.not_delivered", key=idempotency_key, error=type(error).__name__)  # noqa: TRY400
