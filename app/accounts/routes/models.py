"""Models: the administrator's page of who answers, at what price, and whether it works."""

from __future__ import annotations

from flask import make_response, render_template
from flask.typing import ResponseReturnValue
from flask_login import current_user

from app.accounts import model_report, service
from app.accounts.routes.blueprint import bp
from app.accounts.routes.identity import administrator_required
from app.extensions import limiter


@bp.get("/admin/models")
@administrator_required
def models() -> ResponseReturnValue:
    """Show each capability with its server, model, price and end, and presets for local servers."""
    return _page()


@bp.post("/admin/models/<any(transcription, embeddings, chat, images):capability>/test")
@limiter.limit("12/minute;60/hour", key_func=lambda: str(getattr(current_user, "id", "")), scope="model-tests")
@administrator_required
def test_model(capability: str) -> ResponseReturnValue:
    """Call the model once, and show how that went."""
    return _page(service.try_model(current_user.id, capability))


def _page(tested: service.Tested | None = None) -> ResponseReturnValue:
    return make_response(
        render_template("accounts/models.html", lines=model_report.make(), tested=tested, presets=PRESETS)
    )


# What to set for servers that people run themselves: (title, what to know, the lines).
PRESETS = (
    (
        "Ollama, for chat",
        "Any model that can answer as JSON. Set the window to the one that Ollama runs it with (num_ctx).",
        (
            "CHAT_BASE_URL=http://localhost:11434/v1\nCHAT_API_KEY=none\nCHAT_MODEL=qwen3:8b\nCHAT_API=chat\n"
            "CHAT_WINDOW_TOKENS=16000\nCHAT_INPUT_PRICE_MICROUSD_PER_1K_TOKENS=0\n"
            "CHAT_OUTPUT_PRICE_MICROUSD_PER_1K_TOKENS=0"
        ),
    ),
    (
        "Ollama, for embeddings",
        (
            "Vectors may have at most 1,536 numbers; shorter ones are filled up with zeros, which changes no result."
            " nomic-embed-text (768), mxbai-embed-large, bge-m3 and qwen3-embedding:0.6b (1,024) fit; the larger"
            " qwen3-embedding models (2,560 and 4,096) do not."
        ),
        (
            "EMBEDDING_BASE_URL=http://localhost:11434/v1\nEMBEDDING_API_KEY=none\nEMBEDDING_MODEL=bge-m3\n"
            "EMBEDDING_PRICE_MICROUSD_PER_1K_TOKENS=0"
        ),
    ),
    (
        "A local Whisper server (speaches, faster-whisper)",
        "It returns the times of words, so long pieces can be sent.",
        (
            "TRANSCRIPTION_BASE_URL=http://localhost:8000/v1\nTRANSCRIPTION_API_KEY=none\n"
            "TRANSCRIPTION_MODEL=Systran/faster-whisper-large-v3\nTRANSCRIPTION_TIMESTAMPS=yes\n"
            "AUDIO_PRICE_MICROUSD_PER_MINUTE=0"
        ),
    ),
    (
        "vLLM, for chat",
        "It holds to a JSON Schema by itself.",
        (
            "CHAT_BASE_URL=http://localhost:8000/v1\nCHAT_API_KEY=none\nCHAT_MODEL=the-name-it-serves\nCHAT_API=chat\n"
            "CHAT_INPUT_PRICE_MICROUSD_PER_1K_TOKENS=0\nCHAT_OUTPUT_PRICE_MICROUSD_PER_1K_TOKENS=0"
        ),
    ),
    ("OpenAI, for everything", "One key serves all four.", "OPENAI_API_KEY=sk-..."),
)
