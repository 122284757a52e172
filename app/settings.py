"""Every setting of the product: one frozen object, read once from the environment.

Nothing else reads the environment. A secret `X` may also come from the file named in `X_FILE`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from app.lib.email import normalise_email
from app.lib.environment import Environment, SettingsError

GIB = 1024**3
CAPABILITIES = {  # by attribute: what its variables begin with, and the sandbox's model
    "transcription": ("TRANSCRIPTION", "sandbox-transcribe"),
    "embeddings": ("EMBEDDING", "sandbox-embed"),
    "chat": ("CHAT", "sandbox-chat"),
    "images": ("IMAGES", "sandbox-image"),
}
SERVICES = ("DATABASE_URL", "REDIS_URL")  # what `throughline up` starts itself when they are not set
DEVELOPMENT_SECRET = "development-only-secret-key"  # noqa: S105  (refused in production)


@dataclass(frozen=True)
class Provider:
    """One model server for one capability. `api_key` is never shown or logged."""

    base_url: str
    api_key: str = field(repr=False)
    model: str
    is_sandbox: bool = False


@dataclass(frozen=True)
class Bucket:
    """Where files go in an S3-compatible store. An empty `endpoint` is Amazon's own; the keys are never shown."""

    name: str
    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    endpoint: str = ""
    region: str = "us-east-1"
    prefix: str = ""
    is_path_style: bool = True  # https://host/bucket/key, not https://bucket.host/key


@dataclass(frozen=True)
class Settings:
    """All settings, with the defaults of a development machine."""

    environment: str = "development"  # development | production | test
    secret_key: str = field(default=DEVELOPMENT_SECRET, repr=False)
    data_dir: Path = Path("data")
    host: str = "127.0.0.1"
    port: int = 5000
    web_processes: int = 2  # gunicorn workers
    public_url: str = "http://127.0.0.1:5000"
    trusted_proxies: int = 0  # how many proxies in front set X-Forwarded-*; 0: none is believed

    database_url: str = field(default="", repr=False)  # both may hold a password
    redis_url: str = field(default="", repr=False)
    redis_namespace: str = "throughline"  # prefixes every key and channel of ours
    workflows: str = "jobs"  # the module that create_app imports for its workflows

    log_level: str = "info"
    log_format: str = "console"  # console | json

    signup: str = "open"  # open | domains | invite
    allowed_email_domains: tuple[str, ...] = ()
    admin_emails: tuple[str, ...] = ()
    session_days: int = 30
    rate_limits_enabled: bool = True

    resend_api_key: str = field(default="", repr=False)
    resend_api_url: str = ""
    mail_from: str = "Throughline <no-reply@localhost>"

    transcription: Provider = Provider("", "", "gpt-transcribe")
    embeddings: Provider = Provider("", "", "text-embedding-3-small")
    chat: Provider = Provider("", "", "gpt-5.5")
    images: Provider = Provider("", "", "gpt-image-2.5-flare")
    chat_window_tokens: int = 100_000  # what one prompt may hold, its answer included; a local model's may be 8,000
    chat_api: str = "auto"  # auto | responses | chat: which of OpenAI's two APIs the chat server speaks
    model_calls_at_once: int = 16  # of one provider and capability, over all processes
    model_calls_a_minute: int = 500
    transcription_timestamps: str = "auto"  # auto | yes | no: does the provider return word times?
    sandbox_port: int = 0

    max_upload_bytes: int = 2 * GIB
    max_uploads_at_once: int = 5
    max_duration_seconds: int = 6 * 3600
    storage_quota_bytes: int = 50 * GIB
    bucket: Bucket | None = None  # None: files stay in the data folder
    media_memory_bytes: int = 2 * GIB
    media_timeout_seconds: int = 1800

    audio_price_microusd_per_minute: int = 6_000
    embedding_price_microusd_per_1k_tokens: int = 100
    chat_input_price_microusd_per_1k_tokens: int = 5_000  # of gpt-5.5: $5 a million
    chat_output_price_microusd_per_1k_tokens: int = 30_000  # $30 a million, reasoning included
    image_price_microusd: int = 60_000  # of one picture; rather too high for medium quality
    budget_person_microusd: int = 50_000_000  # a month; $50 is about 138 hours of transcription
    budget_instance_microusd: int = 500_000_000  # a month, everybody together

    metrics_token: str = field(default="", repr=False)  # empty: no /metrics
    is_traced: bool = False
    traces_exporter: str = "otlp"

    lease_seconds: float = 30.0
    run_threads: int = 16
    step_threads: int = 48
    retention_days: int = 90  # how long runs that ended are kept; 0: for ever
    isolated_processes: int = 2  # runs at once that have a process of their own, beside each worker
    drain_seconds: float = 25.0  # what a worker that stops leaves to the steps in hand

    @property
    def is_production(self) -> bool:
        """Tell whether this is a production instance (secure cookies, no development pages)."""
        return self.environment == "production"

    @property
    def has_secure_cookies(self) -> bool:
        """Tell whether cookies carry Secure: whenever people reach the site over https."""
        return urlsplit(self.public_url).scheme == "https"

    @property
    def is_sandboxed(self) -> bool:
        """Tell whether any capability is served by the sandbox (then every page says so)."""
        return any(provider.is_sandbox for provider in self.providers.values())

    @property
    def providers(self) -> dict[str, Provider]:
        """Return the provider of each capability, by the capability's name."""
        return {name: getattr(self, name) for name in CAPABILITIES}

    def but(self, **changes: object) -> Self:
        """Return a copy with some fields changed (tests, `throughline up`)."""
        return replace(self, **changes)  # type: ignore[arg-type]

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the settings.

        Raises:
            SettingsError: a value cannot be used; the message names the variable and what it should be.
        """
        env = Environment(os.environ if environ is None else environ)
        host, port = env.text("HOST", cls.host), env.number("PORT", cls.port, 1, 65535)
        environment = env.choice("THROUGHLINE_ENV", ("development", "production", "test"))
        # In production nothing is guessed: links in mail begin with it, and it decides whether cookies are secure.
        own_address = "" if environment == "production" else f"http://{_own_name(host)}:{port}"
        settings = cls(
            environment=environment,
            secret_key=env.secret("SECRET_KEY", DEVELOPMENT_SECRET),
            data_dir=data_folder(env.values),
            host=host,
            port=port,
            web_processes=env.number("WEB_PROCESSES", cls.web_processes, 1, 64),
            public_url=env.text("PUBLIC_URL", own_address).rstrip("/"),
            trusted_proxies=env.number("TRUSTED_PROXIES", 0, 0, 10),
            database_url=env.secret("DATABASE_URL", ""),
            redis_url=env.secret("REDIS_URL", ""),
            redis_namespace=env.text("REDIS_NAMESPACE", cls.redis_namespace),
            log_level=env.choice("LOG_LEVEL", ("info", "debug", "warning", "error")),
            log_format=env.choice("LOG_FORMAT", ("console", "json")),
            signup=env.choice("SIGNUP", ("open", "domains", "invite")),
            allowed_email_domains=_domains(env),
            admin_emails=_addresses(env),
            session_days=env.number("SESSION_DAYS", cls.session_days, 1, 365),
            rate_limits_enabled=env.flag("RATE_LIMITS", default=True),
            resend_api_key=env.secret("RESEND_API_KEY", ""),
            resend_api_url=env.text("RESEND_API_URL", ""),
            mail_from=env.text("MAIL_FROM", cls.mail_from),
            **_providers(env),
            chat_api=env.choice("CHAT_API", ("auto", "responses", "chat")),
            transcription_timestamps=env.choice("TRANSCRIPTION_TIMESTAMPS", ("auto", "yes", "no")),
            sandbox_port=env.number("SANDBOX_PORT", 0, 0, 65535),
            **_limits(env),
            bucket=_bucket(env),
            budget_person_microusd=env.number("BUDGET_PERSON_MICROUSD", cls.budget_person_microusd, 0, 1 << 50),
            budget_instance_microusd=env.number("BUDGET_INSTANCE_MICROUSD", cls.budget_instance_microusd, 0, 1 << 50),
            metrics_token=env.secret("METRICS_TOKEN", ""),
            is_traced=env.flag("OTEL_ENABLED", default=False),
            traces_exporter=env.text("OTEL_TRACES_EXPORTER", cls.traces_exporter),
            **_engine(env),
        )
        settings.check()
        return settings

    @staticmethod
    def missing_services(environ: Mapping[str, str]) -> list[str]:
        """Return which of SERVICES are not set."""
        return [name for name in SERVICES if not Environment(environ).secret(name, "")]

    def check(self) -> None:
        """Refuse what cannot work together.

        Raises:
            SettingsError: production with development defaults, or an address that is none.
        """
        name = _public_name(self.public_url)
        if not name:
            raise SettingsError(
                f"PUBLIC_URL must look like https://example.org, with nothing behind the name, not {self.public_url!r}."
            )
        # What was set is not repeated in these two: it holds a password.
        if self.database_url and not self.database_url.startswith(("postgresql://", "postgresql+psycopg://")):
            raise SettingsError("DATABASE_URL must look like postgresql://user:password@host/name.")
        if self.redis_url and not self.redis_url.startswith(("redis://", "rediss://", "unix://")):
            raise SettingsError("REDIS_URL must look like redis://host:6379/0 (or rediss://, unix://).")
        if self.signup == "domains" and not self.allowed_email_domains:
            raise SettingsError("SIGNUP=domains needs ALLOWED_EMAIL_DOMAINS, for example example.org,example.com.")
        if self.is_production:
            self._check_production(name)

    def _check_production(self, public_name: str) -> None:
        if self.secret_key == DEVELOPMENT_SECRET or len(self.secret_key) < 32:  # noqa: PLR2004
            raise SettingsError(
                "SECRET_KEY must be set to at least 32 random characters in production, "
                "for example by `openssl rand -base64 48`."
            )
        if not self.resend_api_key:
            raise SettingsError("RESEND_API_KEY must be set in production: without mail nobody can sign in.")
        if not self.resend_api_url and "@localhost" in self.mail_from:
            raise SettingsError("MAIL_FROM must be set in production: Resend sends only for a domain of yours.")
        if not self.has_secure_cookies and public_name not in ("localhost", "127.0.0.1", "::1"):
            raise SettingsError("PUBLIC_URL must begin with https:// in production; cookies are not safe without.")


def data_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Return the data folder: THROUGHLINE_DATA, or a default that fits the account."""
    named = (os.environ if environ is None else environ).get("THROUGHLINE_DATA", "").strip()
    if named:
        return Path(named).expanduser().absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/throughline")  # an unprivileged account must reach it; /root is closed to others
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "throughline"


def _public_name(address: str) -> str:
    """Return the host of an address that may be PUBLIC_URL, else nothing."""
    try:
        parts = urlsplit(address)
        is_one = parts.scheme in ("http", "https") and not (parts.path or parts.query or parts.fragment)
        return (parts.hostname or "") if is_one and parts.port != 0 else ""
    except ValueError:
        return ""


def _own_name(host: str) -> str:
    if host in ("0.0.0.0", "::"):  # noqa: S104  (compared, not bound)
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _engine(env: Environment) -> dict[str, Any]:
    """Read what the engine is told."""
    return {
        "lease_seconds": float(env.number("LEASE_SECONDS", 30, 1, 3600)),
        "run_threads": env.number("RUN_THREADS", Settings.run_threads, 1, 256),
        "step_threads": env.number("STEP_THREADS", Settings.step_threads, 1, 1024),
        "retention_days": env.number("RETENTION_DAYS", Settings.retention_days, 0, 36_500),
        "isolated_processes": env.number("ISOLATED_PROCESSES", Settings.isolated_processes, 0, 256),
        "drain_seconds": float(env.number("DRAIN_SECONDS", 25, 0, 3600)),
    }


def _providers(env: Environment) -> dict[str, Any]:
    """Return the provider of each capability, and what it costs."""
    found: dict[str, Any] = {name: _provider(env, name, getattr(Settings, name).model) for name in CAPABILITIES}
    return found | {name: env.number(name.upper(), getattr(Settings, name), 0, 1 << 40) for name in PRICES}


def _limits(env: Environment) -> dict[str, Any]:
    """Return what one person, one file and one model provider may take."""
    plain = Settings()
    return {
        "model_calls_at_once": env.number("MODEL_CALLS_AT_ONCE", plain.model_calls_at_once, 1, 10_000),
        "chat_window_tokens": env.number("CHAT_WINDOW_TOKENS", plain.chat_window_tokens, 4_000, 10_000_000),
        "model_calls_a_minute": env.number("MODEL_CALLS_A_MINUTE", plain.model_calls_a_minute, 1, 1_000_000),
        "max_upload_bytes": env.number("MAX_UPLOAD_BYTES", plain.max_upload_bytes, 1024, 1 << 44),
        "max_uploads_at_once": env.number("MAX_UPLOADS_AT_ONCE", plain.max_uploads_at_once, 1, 100),
        "max_duration_seconds": env.number("MAX_DURATION_SECONDS", plain.max_duration_seconds, 1, 1 << 20),
        "storage_quota_bytes": env.number("STORAGE_QUOTA_BYTES", plain.storage_quota_bytes, 0, 1 << 50),
        "media_memory_bytes": env.number("MEDIA_MEMORY_BYTES", plain.media_memory_bytes, 1 << 27, 1 << 40),
        "media_timeout_seconds": env.number("MEDIA_TIMEOUT_SECONDS", plain.media_timeout_seconds, 1, 86400),
    }


BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
BUCKET_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
BUCKET_NEEDS = ("S3_BUCKET", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY")
BUCKET_MAY_HAVE = ("S3_ENDPOINT", "S3_PREFIX", "S3_REGION")


def _bucket(env: Environment) -> Bucket | None:
    """Return the bucket for the files, None when nothing is said of one; half of it is refused.

    Files that went to the disk because a name was mistyped would be missed only much later.
    """
    found = {name: env.secret(name, "") for name in BUCKET_NEEDS}
    found |= {name: env.text(name, "") for name in BUCKET_MAY_HAVE}
    addressing = env.choice("S3_ADDRESSING", ("auto", "path", "virtual"))
    is_set = [name for name, value in found.items() if value and name != "S3_REGION"]
    if not is_set:
        return None
    for name in BUCKET_NEEDS:
        if not found[name]:
            raise SettingsError(f"{name} must be set too, since {is_set[0]} is; unset that to keep files on the disk.")
    if not BUCKET_NAME.fullmatch(found["S3_BUCKET"]):
        raise SettingsError("S3_BUCKET must be a bucket's name alone: 3 to 63 small letters, digits, dots, hyphens.")
    endpoint, prefix = found["S3_ENDPOINT"].rstrip("/"), found["S3_PREFIX"].strip("/")
    if endpoint and (not _public_name(endpoint) or "@" in endpoint):
        raise SettingsError("S3_ENDPOINT must look like https://s3.example.org:9000, with nothing behind it.")
    if prefix and not BUCKET_PREFIX.fullmatch(prefix):
        raise SettingsError("S3_PREFIX must look like talks/files: letters, digits, dots, hyphens between slashes.")
    return Bucket(
        name=found["S3_BUCKET"],
        access_key_id=found["S3_ACCESS_KEY_ID"],
        secret_access_key=found["S3_SECRET_ACCESS_KEY"],
        endpoint=endpoint,
        region=found["S3_REGION"] or Bucket.region,
        prefix=prefix,
        is_path_style=addressing == "path" or (addressing == "auto" and bool(endpoint)),
    )


def _addresses(env: Environment) -> tuple[str, ...]:
    found = {word: normalise_email(word) for word in env.words("ADMIN_EMAILS")}
    for word, address in found.items():
        if address is None:
            raise SettingsError(f"ADMIN_EMAILS must list addresses like name@example.org; {word!r} is none.")
    return tuple(filter(None, found.values()))


def _domains(env: Environment) -> tuple[str, ...]:
    """Return the domains as the addresses of people are kept: in ASCII."""
    found = {word: normalise_email(f"anybody@{word.removeprefix('@')}") for word in env.words("ALLOWED_EMAIL_DOMAINS")}
    for word, address in found.items():
        if address is None:
            raise SettingsError(f"ALLOWED_EMAIL_DOMAINS must list domains like example.org; {word!r} is none.")
    return tuple(address.rpartition("@")[2] for address in found.values() if address)


SANDBOX_FAMILY = ("sandbox-", "text-only", "fault-")
PRICES = (
    "audio_price_microusd_per_minute",
    "embedding_price_microusd_per_1k_tokens",
    "chat_input_price_microusd_per_1k_tokens",
    "chat_output_price_microusd_per_1k_tokens",
    "image_price_microusd",
)


def _provider(env: Environment, name: str, model: str) -> Provider:
    capability, sandbox_model = CAPABILITIES[name]
    base_url = (
        env.text(f"{capability}_BASE_URL", "") or env.text("OPENAI_BASE_URL", "") or env.text("OPENAI_API_URL", "")
    )
    is_sandbox = env.flag(f"{capability}_SANDBOX", default=env.flag("SANDBOX", default=False))
    model = env.text(f"{capability}_MODEL", sandbox_model if is_sandbox else model)
    if is_sandbox and not model.startswith(SANDBOX_FAMILY):
        model = sandbox_model  # what the sandbox made must never pass for a real model's work
    return Provider(
        base_url=base_url.rstrip("/"),
        api_key=env.secret(f"{capability}_API_KEY", "") or env.secret("OPENAI_API_KEY", ""),
        model=model,
        is_sandbox=is_sandbox,
    )
