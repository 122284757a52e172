"""The sandbox's WSGI application."""

from __future__ import annotations

import hashlib
import json
import secrets
import socket
import time
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException

from app.sandbox import asking, completions, embeddings, faults, images, responses, transcription
from app.sandbox.calls import Call, CallLog
from app.sandbox.errors import ApiError, unknown_model
from app.sandbox.recognition import Recognition

MODELS = (*transcription.TIMED, *transcription.TEXT_ONLY, *embeddings.MODELS, *asking.MODELS, *images.MODELS)
SLOW_SECONDS = 30.0
UNREADABLE = "We could not parse the JSON body of your request."


def create_sandbox(*, processes: int | None = None, slow_seconds: float = SLOW_SECONDS) -> Flask:
    """Build the server; nothing heavy is loaded before the first transcription.

    Args:
        processes: recognitions at once; about the number of cores unless told.
        slow_seconds: how long the model `fault-slow` waits before it answers.
    """
    app = Flask("sandbox", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = transcription.MAX_BYTES + (1 << 20)
    app.config["MAX_FORM_MEMORY_SIZE"] = 1 << 20
    sandbox = _Sandbox(CallLog(), Recognition(processes), slow_seconds)
    app.extensions["sandbox"] = sandbox
    app.before_request(_check_key)
    app.after_request(_add_headers)
    app.add_url_rule("/v1/audio/transcriptions", view_func=sandbox.transcribe, methods=["POST"])
    app.add_url_rule("/v1/embeddings", view_func=sandbox.embed, methods=["POST"])
    app.add_url_rule("/v1/chat/completions", view_func=sandbox.complete, methods=["POST"])
    app.add_url_rule("/v1/responses", view_func=sandbox.respond, methods=["POST"])
    app.add_url_rule("/v1/images/generations", view_func=sandbox.draw, methods=["POST"])
    app.add_url_rule("/v1/models", view_func=_list_models)
    app.add_url_rule("/v1/models/<name>", view_func=_show_model)
    app.add_url_rule("/__calls", view_func=sandbox.calls, methods=["GET", "DELETE"])
    app.add_url_rule("/healthz", view_func=lambda: "ok", endpoint="healthz")
    app.register_error_handler(ApiError, _on_api_error)
    app.register_error_handler(HTTPException, _on_http_error)
    return app


class _Sandbox:
    """The views that share the call log and the recogniser."""

    def __init__(self, log: CallLog, recognition: Recognition, slow_seconds: float) -> None:
        self.log, self.recognition, self.slow_seconds = log, recognition, slow_seconds

    def transcribe(self) -> Response:
        with self.log.record(request.path) as call:
            return self._finish(call, self._transcribe)

    def _transcribe(self, call: Call) -> Response:
        call.model = request.form.get("model", "")
        asked = transcription.parse(request)
        call.content_hash = hashlib.sha256(asked.content).hexdigest()
        self._strike(call)
        return transcription.render(asked, self.recognition.recognise(asked.content))

    def embed(self) -> Response:
        with self.log.record(request.path) as call:
            return self._finish(call, self._embed)

    def _embed(self, call: Call) -> Response:
        asked = embeddings.parse(_json())
        call.model = asked.model
        call.content_hash = hashlib.sha256(json.dumps(asked.texts).encode()).hexdigest()
        self._strike(call)
        call.input_tokens = sum(asked.tokens)
        return jsonify(embeddings.render(asked))

    def complete(self) -> Response:
        with self.log.record(request.path) as call:
            return self._finish(call, lambda call: self._ask(call, completions))

    def respond(self) -> Response:
        with self.log.record(request.path) as call:
            return self._finish(call, lambda call: self._ask(call, responses))

    def _ask(self, call: Call, api: ModuleType) -> Response:
        asked: asking.Asked = api.parse(_json())
        call.model, call.content_hash = asked.model, asked.content_hash
        fault = self._strike(call)
        written = asking.write(asked, fault)
        if fault == "half":
            if not asked.is_streamed:
                faults.cut(request.environ)
                raise faults.Dropped
            return _events(_half(api.stream(asked, written), dict(request.environ)))
        call.input_tokens, call.output_tokens = asked.input_tokens, written.tokens
        return _events(api.stream(asked, written)) if asked.is_streamed else jsonify(api.render(asked, written))

    def draw(self) -> Response:
        with self.log.record(request.path) as call:
            return self._finish(call, self._draw)

    def _draw(self, call: Call) -> Response:
        asked = images.parse(_json())
        call.model, call.content_hash = asked.model, asked.content_hash
        self._strike(call)
        return jsonify(images.render(asked))

    def _strike(self, call: Call) -> str:
        if faults.is_fault(call.model):
            return faults.strike(call, self.log, request.environ, self.slow_seconds)
        return ""

    def _finish(self, call: Call, view: Any) -> Response:
        try:
            answer: Response = view(call)
        except faults.BrokenJson:
            answer = Response('{"text": "cut o', mimetype="application/json")
        except faults.Dropped:
            return Response("")  # goes nowhere: the connection is closed, and the call has no status
        except ApiError as error:
            answer = _on_api_error(error)
        call.status = answer.status_code
        return answer

    def calls(self) -> Response:
        if request.method == "DELETE":
            self.log.reset()
        return jsonify(self.log.summary())


def _events(events: Iterable[str]) -> Response:
    return Response(events, mimetype="text/event-stream", headers={"Cache-Control": "no-cache"})


def _half(events: Iterable[str], environ: dict[str, Any]) -> Iterator[str]:
    found = list(events)
    yield from found[: len(found) // 2]
    faults.cut(environ, socket.SHUT_WR)


def _json() -> Any:
    try:
        found = request.get_json(force=True)
        json.dumps(found, ensure_ascii=False).encode()  # half a character is no text, as in the real service
    except (RecursionError, UnicodeEncodeError):
        raise ApiError(400, UNREADABLE) from None
    return found


def _check_key() -> None:
    if not request.path.startswith("/v1/"):
        return
    g.started = time.monotonic()
    key = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
    if not key or key == "invalid":
        raise ApiError(401, "Incorrect API key provided. Any other key will do here.", code="invalid_api_key")


def _add_headers(answer: Response) -> Response:
    answer.headers["x-request-id"] = f"req_{secrets.token_hex(12)}"
    if "started" in g:
        answer.headers["openai-processing-ms"] = str(round((time.monotonic() - g.started) * 1000))
    return answer


def _list_models() -> Response:
    return jsonify(object="list", data=[_model(name) for name in MODELS])


def _show_model(name: str) -> Response:
    if name not in MODELS:
        raise unknown_model(name)
    return jsonify(_model(name))


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "sandbox"}


def _on_api_error(error: ApiError) -> Response:
    answer = jsonify(error.body())
    answer.status_code = error.status
    answer.headers.update(error.headers)
    return answer


def _on_http_error(error: HTTPException) -> Response:
    code = error.code or 500
    sentences = {
        400: UNREADABLE,
        404: f"Invalid URL ({request.method} {request.path})",
        405: f"Not allowed to {request.method} on {request.path}.",
        413: f"Maximum content size limit ({transcription.MAX_BYTES}) exceeded.",
    }
    kind = "server_error" if code >= 500 else "invalid_request_error"  # noqa: PLR2004
    return _on_api_error(ApiError(code, sentences.get(code, error.description or "Error."), kind=kind))
