"""The real chat model: OpenAI's client, by the Responses API or, for servers that have no other, Chat Completions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.adapters import cache
from app.adapters.llm import Answer, Garbled, Refused
from app.adapters.llm_errors import translated
from app.adapters.llm_server import OWN_ADDRESS, Server
from app.lib import json_schema
from app.lib.outside import before_outside_call
from app.lib.words import count_tokens
from app.settings import Settings

CHAT_SECONDS = 300.0  # of silence: a reasoning model thinks before it writes

Write = Callable[[str], None]
Messages = Sequence[Mapping[str, Any]]
Request = dict[str, Any]


@dataclass
class _Said:
    """What came back, whichever API it came by."""

    text: str = ""
    refusal: str = ""
    stopped_by: str = ""  # length | content_filter, or nothing
    input_tokens: int | None = None
    output_tokens: int | None = None
    id: str = ""


class OpenAIChat:
    """Asks any server with OpenAI's `/v1/responses` or `/v1/chat/completions`."""

    def __init__(self, server: Server, api: str = "auto") -> None:
        self._server, self._api = server, _api_of(server, api)
        self.model = server.provider.model

    @classmethod
    def from_settings(cls, settings: Settings) -> OpenAIChat:
        """Return the chat model that the settings name."""
        return cls(Server(settings, "chat", settings.chat, CHAT_SECONDS), settings.chat_api)

    def answer(
        self,
        messages: Messages,
        *,
        schema: Mapping[str, Any] | None = None,
        schema_name: str = "",
        max_output_tokens: int,
        owner_id: UUID | None = None,
        paid_as: str = "",
        write: Write | None = None,
        model: str | None = None,
    ) -> Answer:
        """Ask the model once; see `llm.Chat`."""
        before_outside_call()
        name = model or self.model
        if schema is not None:
            json_schema.check(schema)
        ask = _responses_request if self._api == "responses" else self._chat_request
        request = {"model": name, **ask(messages, schema, schema_name or "answer", max_output_tokens)}
        key = cache.hash_of(request)
        kept = cache.find(owner_id, key)
        if kept is not None:
            if write is not None:
                write(kept["text"])
            share = int(cache.billed(kept, paid_as))
            counts = [share * count for count in kept["tokens"]]
            return Answer(kept["text"], kept["data"], counts[0], counts[1], name, is_cached=True, id=kept["id"])
        found = self._checked(self._call(request, write), request, messages, schema)
        tokens = [found.input_tokens, found.output_tokens]
        kept = {"text": found.text, "data": found.data, "tokens": tokens, "id": found.id}
        cache.keep(owner_id, key, {**kept, "billed": 1, "paid_as": paid_as})
        return found

    def _call(self, request: Request, write: Write | None) -> _Said:
        client = self._server.client()
        by_responses = self._api == "responses"
        create: Any = client.responses.create if by_responses else client.chat.completions.create
        with self._server.limiter.slot(), translated(request["model"], self._server.limiter.pause):
            if write is None:
                found = create(**request)
                return _of_response(found) if by_responses else _of_completion(found)
            if by_responses:
                with create(**request, stream=True) as events:
                    return _of_response(_last_response(events, write))
            with create(**request, stream=True, stream_options={"include_usage": True}) as chunks:
                return _of_chunks(chunks, write)

    def _checked(self, said: _Said, request: Request, messages: Messages, schema: Mapping[str, Any] | None) -> Answer:
        asked = sum(count_tokens(str(message.get("content", ""))) for message in messages)
        tokens = (
            asked if said.input_tokens is None else said.input_tokens,  # a server that counts nothing: our estimate
            count_tokens(said.text) if said.output_tokens is None else said.output_tokens,
        )
        answer = Answer(said.text, None, *tokens, request["model"], id=said.id)
        if said.refusal or said.stopped_by == "content_filter":
            why = f": {said.refusal[:300]}" if said.refusal else "."
            raise Refused(f"The model did not want to write this{why}", answer)
        if said.stopped_by == "length":
            raise Refused("The model wrote more than it may, so its answer breaks off. Try it with less text.", answer)
        if not said.text.strip():
            raise Garbled("The model wrote nothing. It is tried again.", answer)
        if schema is None:
            return answer
        try:
            data = json_schema.read(said.text, schema)
        except json_schema.NotFitting as error:
            raise Garbled(
                f"The model did not write what it was asked for ({error}). It is tried again.", answer
            ) from error
        return Answer(said.text, data, *tokens, request["model"], id=said.id)

    def _chat_request(self, messages: Messages, schema: Any, schema_name: str, most: int) -> Request:
        # The old name is the one that local servers know; OpenAI's reasoning models refuse it.
        limit = "max_completion_tokens" if _is_openai(self._server) else "max_tokens"
        request: Request = {"messages": [dict(message) for message in messages], limit: most}
        if schema is not None:
            form = {"name": schema_name, "schema": dict(schema), "strict": json_schema.is_strict(schema)}
            request["response_format"] = {"type": "json_schema", "json_schema": form}
        return request


def _responses_request(messages: Messages, schema: Any, schema_name: str, most: int) -> Request:
    request: Request = {
        "input": [dict(message) for message in messages],
        "max_output_tokens": most,
        "store": False,  # people's words stay with the provider no longer than they must
    }
    if schema is not None:
        form = {"name": schema_name, "schema": dict(schema), "strict": json_schema.is_strict(schema)}
        request["text"] = {"format": {"type": "json_schema", **form}}
    return request


def _api_of(server: Server, api: str) -> str:
    if api != "auto":
        return api
    return "responses" if server.provider.is_sandbox or _is_openai(server) else "chat"


def _is_openai(server: Server) -> bool:
    return server.provider.base_url in ("", OWN_ADDRESS)


def _last_response(events: Iterable[Any], write: Write) -> Any:
    """Write the text as it comes and return the whole response, which the last event carries."""
    for event in events:
        if event.type == "response.output_text.delta":
            write(event.delta)
        elif event.type in ("response.completed", "response.incomplete", "response.failed"):
            return event.response
        elif event.type == "error":
            raise ValueError(event.message)
    raise ValueError("The stream ended before its answer did.")


def _of_response(response: Any) -> _Said:
    if response.status == "failed":
        raise ValueError(str(response.error))
    parts = [part for item in response.output if item.type == "message" for part in item.content]
    reason = getattr(response.incomplete_details, "reason", None) if response.status == "incomplete" else None
    stopped_by = {None: "", "content_filter": "content_filter"}.get(reason, "length")
    usage = response.usage
    return _Said(
        text="".join(part.text for part in parts if part.type == "output_text"),
        refusal="".join(part.refusal for part in parts if part.type == "refusal"),
        stopped_by=stopped_by,
        input_tokens=usage.input_tokens if usage else None,
        output_tokens=usage.output_tokens if usage else None,
        id=str(response.id or ""),
    )


def _of_completion(completion: Any) -> _Said:
    choice, usage = completion.choices[0], completion.usage
    return _Said(
        text=choice.message.content or "",
        refusal=getattr(choice.message, "refusal", None) or "",
        stopped_by=_stopped_by(choice.finish_reason),
        input_tokens=usage.prompt_tokens if usage else None,
        output_tokens=usage.completion_tokens if usage else None,
        id=str(completion.id or ""),
    )


def _of_chunks(chunks: Iterable[Any], write: Write) -> _Said:
    said, is_over = _Said(), False
    for chunk in chunks:
        said.id = said.id or str(chunk.id or "")
        if chunk.usage:
            said.input_tokens, said.output_tokens = chunk.usage.prompt_tokens, chunk.usage.completion_tokens
        for choice in chunk.choices:
            if choice.delta.content:
                said.text += choice.delta.content
                write(choice.delta.content)
            said.refusal += getattr(choice.delta, "refusal", None) or ""
            said.stopped_by = said.stopped_by or _stopped_by(choice.finish_reason)
            is_over = is_over or choice.finish_reason is not None
    if not is_over:
        raise ValueError("The stream ended before its answer did.")
    return said


def _stopped_by(finish_reason: str | None) -> str:
    return finish_reason if finish_reason in ("length", "content_filter") else ""
