"""What the administrator's page says of each capability: its server, its model, what it costs, how long it lives."""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from app.adapters import llm_models
from app.adapters.llm_models import Retirement
from app.lib.clock import now
from app.lib.text import money
from app.settings import CAPABILITIES, Settings
from app.web import settings

SOON = dt.timedelta(days=90)
NAMES = {"transcription": "Transcription", "embeddings": "Embeddings", "chat": "Chat", "images": "Images"}
USES = {
    "transcription": "turns speech into words",
    "embeddings": "lets people search by meaning",
    "chat": "writes titles, summaries and chapters",
    "images": "draws pictures for workflows that ask for them",
}


@dataclass(frozen=True)
class Line:
    """One capability. No key is in it: only whether there is one."""

    name: str
    title: str
    use: str
    variable: str  # what its settings begin with
    server: str
    model: str
    price: str
    at_once: int
    a_minute: int
    is_sandbox: bool
    is_configured: bool
    retirement: Retirement | None
    is_withdrawn: bool
    is_soon: bool


def make() -> list[Line]:
    """Return one line for each capability."""
    rules, today = settings(), now().date()
    return [_line(rules, name, today) for name in CAPABILITIES]


def _line(rules: Settings, name: str, today: dt.date) -> Line:
    provider = rules.providers[name]
    retirement = llm_models.retirement_of(provider.model)
    at_once = rules.model_calls_at_once
    return Line(
        name=name,
        title=NAMES[name],
        use=USES[name],
        variable=CAPABILITIES[name][0],
        server="the sandbox on this machine" if provider.is_sandbox else _host(provider.base_url),
        model=provider.model,
        price="free" if provider.is_sandbox else _price(rules, name),
        at_once=min(at_once, 2 * (os.cpu_count() or 1)) if provider.is_sandbox else at_once,
        a_minute=rules.model_calls_a_minute,
        is_sandbox=provider.is_sandbox,
        is_configured=bool(provider.api_key or provider.base_url),
        retirement=retirement,
        is_withdrawn=retirement is not None and retirement.on <= today,
        is_soon=retirement is not None and today < retirement.on <= today + SOON,
    )


def _price(rules: Settings, name: str) -> str:
    prices = {
        "transcription": f"{money(rules.audio_price_microusd_per_minute)} a minute",
        "embeddings": f"{money(rules.embedding_price_microusd_per_1k_tokens)} for 1,000 tokens",
        "chat": f"{money(rules.chat_input_price_microusd_per_1k_tokens)} in,"
        f" {money(rules.chat_output_price_microusd_per_1k_tokens)} out, for 1,000 tokens",
        "images": f"{money(rules.image_price_microusd)} a picture",
    }
    return prices[name]


def _host(base_url: str) -> str:
    """Return the server's name and port: an address may hold a password."""
    if not base_url:
        return "api.openai.com"
    try:
        parts = urlsplit(base_url)
        return f"{parts.hostname or '?'}{f':{parts.port}' if parts.port else ''}"
    except ValueError:
        return "?"
