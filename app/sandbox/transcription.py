"""`/v1/audio/transcriptions`: parse the request, answer in the format that was asked for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from flask import Request, Response, jsonify

from app.sandbox.errors import ApiError, unknown_model
from app.sandbox.recognition import Heard
from app.sandbox.wording import Sentence, sentences

TIMED = ("sandbox-transcribe", "whisper-1")
TEXT_ONLY = ("text-only", "gpt-transcribe", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")
FORMATS = ("json", "text", "verbose_json", "srt", "vtt")
MAX_BYTES = 25 * 1024 * 1024  # as the real service
ENGLISH = ("en", "english")


@dataclass(frozen=True)
class Asked:
    """One checked request."""

    content: bytes
    model: str
    format: str
    granularities: frozenset[str]


def parse(request: Request) -> Asked:
    """Check a request.

    Raises:
        ApiError: what the real service would say; and a language that this recogniser does not know.
    """
    upload = request.files.get("file")
    if upload is None:
        raise ApiError(400, "Missing required parameter: 'file'.", param="file", code="missing_required_parameter")
    model = request.form.get("model", "")
    if not model:
        raise ApiError(400, "you must provide a model parameter", param="model")
    content = upload.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ApiError(413, f"Maximum content size limit ({MAX_BYTES}) exceeded.", param="file")
    if not content:
        raise ApiError(400, "Audio file is empty.", param="file", code="invalid_value")
    granularities = request.form.getlist("timestamp_granularities[]") or request.form.getlist("timestamp_granularities")
    asked = Asked(content, model, request.form.get("response_format") or "json", frozenset(granularities))
    _check(asked)
    _check_languages([request.form.get("language", ""), *request.form.getlist("languages[]")])
    return asked


def _check(asked: Asked) -> None:
    if asked.model not in TIMED + TEXT_ONLY and not asked.model.startswith("fault-"):
        raise unknown_model(asked.model)
    if asked.format not in FORMATS:
        raise ApiError(
            400,
            f"Invalid value: '{asked.format}'. Supported values are: {', '.join(FORMATS)}.",
            param="response_format",
            code="invalid_value",
        )
    if asked.model in TEXT_ONLY and asked.format not in ("json", "text"):
        raise ApiError(
            400,
            f"response_format '{asked.format}' is not compatible with model '{asked.model}'."
            " Use 'json' or 'text' instead.",
            param="response_format",
            code="unsupported_value",
        )
    if not asked.granularities <= {"word", "segment"}:
        raise ApiError(400, "timestamp_granularities are 'word' and 'segment'.", param="timestamp_granularities")
    if asked.granularities and asked.format != "verbose_json":
        raise ApiError(
            400,
            "timestamp_granularities need response_format 'verbose_json'.",
            param="timestamp_granularities",
            code="invalid_value",
        )


def _check_languages(languages: list[str]) -> None:
    wanted = [language.strip().lower() for language in languages if language.strip()]
    if wanted and not any(language.partition("-")[0] in ENGLISH for language in wanted):
        raise ApiError(
            400,
            f"The sandbox recognises English only, not '{wanted[0]}'. Upload captions with the video, set"
            " OPENAI_API_KEY, or point OPENAI_BASE_URL at a local transcription server that knows the language.",
            param="language",
            code="unsupported_language",
        )


def render(asked: Asked, heard: Heard) -> Response:
    """Return the answer in the format that was asked for."""
    parts = sentences(heard)
    text = " ".join(part.text for part in parts)
    usage = {"type": "duration", "seconds": round(heard.duration, 2)}
    if asked.format == "json":
        return jsonify(text=text, usage=usage)
    if asked.format == "text":
        return Response(text + "\n", mimetype="text/plain")
    if asked.format == "srt":
        return Response(_srt(parts), mimetype="text/plain")
    if asked.format == "vtt":
        return Response(_vtt(parts), mimetype="text/plain")
    body: dict[str, Any] = {
        "task": "transcribe",
        "language": "english",
        "duration": round(heard.duration, 2),
        "text": text,
        "usage": usage,
    }
    granularities = asked.granularities or {"segment"}
    if "segment" in granularities:
        body["segments"] = [_segment(number, part) for number, part in enumerate(parts)]
    if "word" in granularities:
        body["words"] = [
            {"word": word.word, "start": word.start, "end": word.end, "confidence": word.confidence}
            for part in parts
            for word in part.words
        ]
    return Response(json.dumps(body), mimetype="application/json")


def _segment(number: int, part: Sentence) -> dict[str, Any]:
    return {
        "id": number,
        "seek": 0,
        "start": part.words[0].start,
        "end": part.words[-1].end,
        "text": f" {part.text}",
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": round(part.average_logarithm, 4),
        "compression_ratio": 1.0,
        "no_speech_prob": 0.0,
    }


def _srt(parts: list[Sentence]) -> str:
    return "\n".join(
        f"{number}\n{_clock(part.words[0].start, ',')} --> {_clock(part.words[-1].end, ',')}\n{part.text}\n"
        for number, part in enumerate(parts, 1)
    )


def _vtt(parts: list[Sentence]) -> str:
    cues = [f"{_clock(p.words[0].start, '.')} --> {_clock(p.words[-1].end, '.')}\n{p.text}\n" for p in parts]
    return "\n".join(["WEBVTT\n", *cues])


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{point}{rest % 1000:03}"
