"""The settings: what is wrong is a sentence that names the variable, and never shows a secret."""

from __future__ import annotations

import pytest

from app.lib.environment import SettingsError
from app.settings import Settings

PRODUCTION = {
    "THROUGHLINE_ENV": "production",
    "SECRET_KEY": "x" * 40,
    "RESEND_API_KEY": "re_x",
    "PUBLIC_URL": "https://talks.example.org",
    "MAIL_FROM": "Talks <talks@example.org>",
}


def refusal(**values: str) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment(values)
    return str(caught.value)


def test_production_with_all_it_needs_starts_and_has_secure_cookies():
    found = Settings.from_environment(PRODUCTION)
    assert found.is_production
    assert found.has_secure_cookies


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", ""),
        ("SECRET_KEY", "short"),
        ("SECRET_KEY", "development-only-secret-key"),
        ("RESEND_API_KEY", ""),
        ("PUBLIC_URL", ""),
        ("PUBLIC_URL", "http://talks.example.org"),
        ("MAIL_FROM", ""),
        ("MAIL_FROM", "Throughline <no-reply@localhost>"),
    ],
)
def test_production_refuses_what_is_good_enough_for_development(name, value):
    assert name in refusal(**PRODUCTION | {name: value})
    assert Settings.from_environment({name: value})


@pytest.mark.parametrize("address", ["http://localhost:5000", "http://127.0.0.1:8000", "http://[::1]:8000"])
def test_production_may_be_tried_on_one_machine_without_https(address):
    assert not Settings.from_environment(PRODUCTION | {"PUBLIC_URL": address}).has_secure_cookies


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PUBLIC_URL", "example.org"),
        ("PUBLIC_URL", "ftp://example.org"),
        ("PUBLIC_URL", "http://[::1"),
        ("PUBLIC_URL", "https://example.org/somewhere"),
        ("PORT", "0"),
        ("PORT", "many"),
        ("SIGNUP", "closed"),
        ("SIGNUP", "domains"),
        ("RATE_LIMITS", "maybe"),
        ("DATABASE_URL", "hunter2"),
        ("DATABASE_URL", "postgres://me:hunter2@host/name"),
        ("DATABASE_URL", "mysql://me:hunter2@host/name"),
        ("REDIS_URL", "hunter2"),
        ("REDIS_URL", "http://:hunter2@host"),
        ("ADMIN_EMAILS", "root"),
        ("ALLOWED_EMAIL_DOMAINS", "@"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(name, value):
    said = refusal(**{name: value})
    assert name in said
    assert "hunter2" not in said


def test_a_secret_may_stand_in_a_file(tmp_path):
    file = tmp_path / "secret"
    file.write_text("  from-the-file\n")
    found = Settings.from_environment({"RESEND_API_KEY_FILE": str(file), "RESEND_API_KEY": "from-the-environment"})
    assert found.resend_api_key == "from-the-file"


def test_a_secret_file_that_cannot_be_read_is_named(tmp_path):
    assert "SECRET_KEY_FILE" in refusal(SECRET_KEY_FILE=str(tmp_path / "nothing-here"))
    assert "SECRET_KEY_FILE" in refusal(SECRET_KEY_FILE=str(tmp_path))
    (tmp_path / "noise").write_bytes(b"\xff\xfe\x00")
    assert "SECRET_KEY_FILE" in refusal(SECRET_KEY_FILE=str(tmp_path / "noise"))


def test_the_settings_do_not_show_their_secrets():
    named = ("SECRET_KEY", "RESEND_API_KEY", "OPENAI_API_KEY", "TRANSCRIPTION_API_KEY")
    secrets = {name: f"very-secret-{number}" for number, name in enumerate(named)}
    addresses = {"DATABASE_URL": "postgresql://me:very-secret@host/name", "REDIS_URL": "redis://:very-secret@host"}
    assert "very-secret" not in repr(Settings.from_environment(secrets | addresses))


def test_addresses_and_domains_are_compared_as_people_are_kept():
    found = Settings.from_environment(
        {"ADMIN_EMAILS": "Root@Bücher.example, two@example.org", "ALLOWED_EMAIL_DOMAINS": "Bücher.example,@example.org"}
    )
    assert found.admin_emails == ("root@xn--bcher-kva.example", "two@example.org")
    assert found.allowed_email_domains == ("xn--bcher-kva.example", "example.org")


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("0.0.0.0", "http://127.0.0.1:5000"),  # noqa: S104  (named, not bound)
        ("::", "http://127.0.0.1:5000"),
        ("::1", "http://[::1]:5000"),
        ("talks.example.org", "http://talks.example.org:5000"),
    ],
)
def test_the_address_follows_from_the_host(host, address):
    assert Settings.from_environment({"HOST": host}).public_url == address


BUCKET = {"S3_BUCKET": "talks", "S3_ACCESS_KEY_ID": "key", "S3_SECRET_ACCESS_KEY": "hunter2"}


def test_files_stay_on_the_disk_unless_a_bucket_is_named():
    assert Settings.from_environment({}).bucket is None
    assert Settings.from_environment({"S3_REGION": "eu-west-1", "S3_ADDRESSING": "path"}).bucket is None


@pytest.mark.parametrize("missing", BUCKET)
def test_half_a_bucket_is_refused_by_the_name_of_what_is_missing(missing):
    said = refusal(**{**BUCKET, missing: " "})
    assert said.startswith(f"{missing} must be set too, since S3_")
    assert "hunter2" not in said


@pytest.mark.parametrize("name", ["S3_ENDPOINT", "S3_PREFIX"])
def test_a_bucket_without_a_name_is_refused(name):
    assert refusal(**{name: "https://s3.example.org"}).startswith(f"S3_BUCKET must be set too, since {name} is")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("S3_BUCKET", "s3://talks"),
        ("S3_BUCKET", "Talks"),
        ("S3_BUCKET", "ab"),
        ("S3_ENDPOINT", "s3.example.org"),
        ("S3_ENDPOINT", "https://me:hunter2@s3.example.org"),
        ("S3_ENDPOINT", "https://s3.example.org/talks"),
        ("S3_PREFIX", "../other"),
        ("S3_PREFIX", "a//b"),
        ("S3_ADDRESSING", "dns"),
    ],
)
def test_a_bucket_that_cannot_be_meant_is_refused_by_name(name, value):
    said = refusal(**BUCKET | {name: value})
    assert said.startswith(f"{name} must")
    assert "hunter2" not in said


def test_the_keys_of_a_bucket_come_from_files_too_and_are_never_shown(tmp_path):
    (tmp_path / "secret").write_text("hunter2\n")
    found = Settings.from_environment(
        BUCKET | {"S3_SECRET_ACCESS_KEY": "", "S3_SECRET_ACCESS_KEY_FILE": str(tmp_path / "secret")}
    )
    assert found.bucket.secret_access_key == "hunter2"
    assert "hunter2" not in repr(found)


def test_with_an_endpoint_the_bucket_stands_in_the_path_and_at_amazon_in_the_host():
    assert not Settings.from_environment(BUCKET).bucket.is_path_style
    own = BUCKET | {"S3_ENDPOINT": "http://minio:9000/", "S3_PREFIX": "/team/talks/"}
    bucket = Settings.from_environment(own).bucket
    assert (bucket.endpoint, bucket.prefix, bucket.is_path_style) == ("http://minio:9000", "team/talks", True)
    assert not Settings.from_environment(own | {"S3_ADDRESSING": "virtual"}).bucket.is_path_style
