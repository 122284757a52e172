"""Mails: once for each key, whatever breaks; secrets not kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from app.accounts.models import User
from app.accounts.service.delivery import wait_for_delivery
from app.adapters import mailer as adapter
from app.adapters.mailer import FakeMailer, Mail, OutboxMailer, ResendMailer, compose
from app.adapters.outbox import MailRow
from app.db import OpenTransaction, db
from app.errors import Permanent, Transient
from app.lib.clock import now
from tests.accounts.fake_resend import FakeResend
from tests.accounts.mails import all_mails
from tests.accounts.pages import ask

MAIL = Mail(
    "alice@example.org", "Ready", "Your video is ready.", "<p>Your video is ready.</p>", {"List-Unsubscribe": "<u>"}
)


@pytest.fixture
def resend(app) -> Iterator[FakeResend]:
    fake = FakeResend()
    yield fake
    fake.stop()


@pytest.fixture
def real(resend, settings) -> ResendMailer:
    return ResendMailer(
        settings.but(resend_api_key="re_test", resend_api_url=resend.url, mail_from="T <t@example.org>")
    )


@pytest.fixture
def use(app):
    """Put another mailer into the app for one test."""
    kept = app.extensions[adapter.EXTENSION]

    def put(mailer):
        app.extensions[adapter.EXTENSION] = mailer

    yield put
    app.extensions[adapter.EXTENSION] = kept


def row() -> MailRow:
    db.session.rollback()
    return db.session.scalars(sa.select(MailRow).execution_options(populate_existing=True)).one()


def test_a_mail_goes_out_with_its_key(real, resend):
    real.send(MAIL, idempotency_key="run/step")
    (request,) = resend.requests
    assert request["path"] == "/emails"
    assert request["headers"]["Idempotency-Key"] == "run/step"
    assert request["headers"]["Authorization"] == "Bearer re_test"
    assert request["message"] == {
        "from": "T <t@example.org>",
        "to": ["alice@example.org"],
        "subject": "Ready",
        "text": "Your video is ready.",
        "html": "<p>Your video is ready.</p>",
        "headers": {"List-Unsubscribe": "<u>"},
    }
    assert (row().status, row().provider_id) == ("sent", "mail-1")


def test_a_sent_key_is_not_sent_again(real, resend):
    for _ in range(3):
        real.send(MAIL, idempotency_key="k")
    assert len(resend.requests) == 1


def test_a_crash_between_call_and_commit_delivers_once(real, resend, monkeypatch):
    def die(*_arguments, **_values):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(adapter, "_note", die)
        with pytest.raises(KeyboardInterrupt):
            real.send(MAIL, idempotency_key="k")
    assert row().status == "sending"
    real.send(replace(MAIL, text="Rendered again, a little different."), idempotency_key="k")
    assert len(resend.requests) == 2
    assert len(resend.delivered) == 1
    assert row().status == "sent"


def test_after_a_day_of_not_knowing_nothing_is_repeated(real, resend, monkeypatch):
    resend.answer_with = [(500, "application_error", {})]
    with pytest.raises(Transient):
        real.send(MAIL, idempotency_key="k")
    db.session.execute(sa.update(MailRow).values(created_at=now() - timedelta(days=1)))
    db.session.commit()
    with pytest.raises(Permanent, match="not known whether"):
        real.send(MAIL, idempotency_key="k")
    assert len(resend.requests) == 1


@pytest.mark.parametrize(
    ("status", "name", "headers", "kind", "wait"),
    [
        (429, "rate_limit_exceeded", {"Retry-After": "7"}, Transient, 7.0),
        (429, "daily_quota_exceeded", {}, Transient, None),
        (500, "application_error", {}, Transient, None),
        (503, "unavailable", {}, Transient, None),
        (409, "concurrent_idempotent_requests", {}, Transient, None),
        (409, "invalid_idempotent_request", {}, Permanent, None),
        (401, "missing_api_key", {}, Permanent, None),
        (403, "invalid_api_key", {}, Permanent, None),
        (422, "validation_error", {}, Permanent, None),
    ],
)
def test_errors_say_whether_trying_again_helps(real, resend, status, name, headers, kind, wait):  # noqa: PLR0917
    resend.answer_with = [(status, name, headers)]
    with pytest.raises(kind) as caught:
        real.send(MAIL, idempotency_key="k")
    if kind is Transient:
        assert caught.value.retry_after == wait
        real.send(MAIL, idempotency_key="k")
        assert row().status == "sent"
    else:
        assert row().status == "failed"


def test_a_refused_connection_is_transient(settings, resend):
    resend.stop()
    away = ResendMailer(settings.but(resend_api_key="re_test", resend_api_url=resend.url))
    with pytest.raises(Transient):
        away.send(MAIL, idempotency_key="k")


def test_a_hanging_server_is_given_up(real, resend):
    import resend as sdk

    sdk.default_http_client = sdk.RequestsClient(timeout=0.2)
    resend.is_slow = True
    with pytest.raises(Transient):
        real.send(MAIL, idempotency_key="k")


def test_no_mail_is_sent_with_changes_uncommitted(app, real, resend):
    db.session.add(User(email="x@example.org"))
    for mailer in (real, OutboxMailer(), FakeMailer()):
        with pytest.raises(OpenTransaction):
            mailer.send(MAIL, idempotency_key="k")
    assert resend.requests == []


def test_secrets_are_not_kept_once_mail_is_real(real, resend):
    real.send(replace(MAIL, text="code 123 456", html="<b>123 456</b>", is_secret=True), idempotency_key="k")
    assert resend.delivered[0]["text"] == "code 123 456"
    assert (row().text, row().html, row().subject) == ("", "", "Ready")


def test_the_outbox_keeps_a_mail_once(app):
    for _ in range(2):
        OutboxMailer().send(MAIL, idempotency_key="k")
    assert row().status == "outbox"


def test_the_outbox_forgets_secrets_after_fifteen_minutes(app):
    OutboxMailer().send(replace(MAIL, is_secret=True), idempotency_key="old secret")
    OutboxMailer().send(MAIL, idempotency_key="old")
    db.session.execute(sa.update(MailRow).values(created_at=now() - timedelta(minutes=16)))
    db.session.commit()
    OutboxMailer().send(replace(MAIL, is_secret=True), idempotency_key="new secret")
    assert {mail.idempotency_key: bool(mail.text) for mail in all_mails()} == {
        "old secret": False,
        "old": True,
        "new secret": True,
    }


def test_signing_in_by_real_mail(app, client, real, resend, use):
    use(real)
    assert ask(client, "alice@example.org").status_code == 303
    wait_for_delivery()
    assert resend.delivered[0]["to"] == ["alice@example.org"]
    assert "/sign-in/link/" in resend.delivered[0]["html"]
    assert "/sign-in/link/" not in row().text + row().html


def test_the_answer_does_not_wait_for_the_mail_service(app, client, real, resend, use):
    use(real)
    resend.is_slow = True
    assert ask(client, "alice@example.org").status_code == 303
    resend.let_go.set()
    wait_for_delivery()
    assert len(resend.delivered) == 1


def test_a_broken_mail_service_does_not_show_in_the_answer(app, client, real, resend, use):
    use(real)
    resend.answer_with = [(403, "invalid_api_key", {})]
    answer = ask(client, "alice@example.org")
    wait_for_delivery()
    assert (answer.status_code, answer.location) == (303, "/sign-in/code")


def test_a_broken_outbox_does_not_show_in_the_answer(app, client, use):
    fake = FakeMailer()
    fake.failure = RuntimeError("full")
    use(fake)
    assert ask(client, "alice@example.org").status_code == 303


def test_mails_are_composed_without_a_request_and_escape_what_they_are_given(app):
    mail = compose(
        "invitation", to="a@example.org", link="https://x.example/?a=1&b=2", inviter="<b>Bob</b>\r\nBcc: x@y.z"
    )
    assert mail.subject == "<b>Bob</b> Bcc: x@y.z invites you to Throughline"
    assert "<b>Bob" not in mail.html
    assert "&lt;b&gt;Bob" in mail.html
    assert "https://x.example/?a=1&b=2" in mail.text
