"""Models: what the product asks of them, and which server answers (front page of this adapter).

`transcriber()`, `embedder()`, `chat()` and `images()` give the current app's instances, made from the settings when
first needed; tests put fakes in their place with `install()`. The real classes are in `llm_openai.py`, `llm_chat.py`
and `llm_images.py`, the fakes in `llm_fakes.py`.

Every call passes the outside gate first (`app.lib.outside`), so it must not be made with uncommitted changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from flask import Flask, current_app

from app.adapters import cache as _cache  # noqa: F401  (its table is part of the schema, also before the first call)
from app.errors import Permanent, Transient
from app.lib.words import Word
from app.settings import Settings

EXTENSION = "throughline.llm"
DIMENSIONS = 1536
SANDBOX_NOTE = (
    "This is a rough draft by the offline recogniser. Of a hundred words it gets about 10 to 20 wrong in our sample"
    " talks, about 20 in English that is read aloud, and about 60 in spontaneous speech."
)


@dataclass(frozen=True)
class Transcription:
    """What was said. `words` is empty when the model gives text only.

    `seconds_billed` is 0 when the answer came from the cache: nothing was paid for it. Only of the very call that paid
    for it (the same `paid_as`) it is what was paid, since that may not have been metered.
    """

    text: str
    words: tuple[Word, ...]
    seconds_billed: float
    is_cached: bool = False


@dataclass(frozen=True)
class Embedded:
    """One vector of DIMENSIONS floats for each text, in order; `tokens` billed, as `Transcription.seconds_billed`."""

    vectors: tuple[tuple[float, ...], ...]
    tokens: int
    is_cached: bool = False


@dataclass(frozen=True)
class Capabilities:
    """What a transcription provider can do. `languages` are ISO 639-1 codes; empty means any."""

    has_times: bool
    max_bytes: int
    languages: tuple[str, ...] = ()

    def knows(self, language: str) -> bool:
        """Tell whether `language` ("en", "en-GB") can be transcribed."""
        return not self.languages or short_language(language) in self.languages


class Transcriber(Protocol):
    """Turns a sound file into text."""

    @property
    def model(self) -> str:
        """Return the model's name, as it is kept with every transcript."""

    @property
    def capabilities(self) -> Capabilities:
        """Return what this provider can do."""

    def transcribe(
        self,
        path: Path,
        *,
        language: str = "",
        prompt: str = "",
        vocabulary: str = "",
        owner_id: UUID | None = None,
        paid_as: str = "",
    ) -> Transcription:
        """Transcribe one file.

        Args:
            path: an audio file of at most `capabilities.max_bytes`; its suffix tells the format.
            language: ISO 639-1, with or without a region; empty lets the model guess.
            prompt: what was said just before, so that names and style go on.
            vocabulary: names and terms, separated by commas.
            owner_id: whose call it is: an identical call of the same person is answered from the cache.
            paid_as: what names the call where it is metered (a run's step), the same on every try.

        Raises:
            Transient: it may work later; `retry_after` (seconds) when the provider or the limiter said so.
            Permanent: it will fail again; the message says what to do.
        """


class Embedder(Protocol):
    """Turns texts into vectors."""

    @property
    def model(self) -> str:
        """Return the model's name; vectors of different models must not be compared."""

    def embed(
        self,
        texts: Sequence[str],
        *,
        owner_id: UUID | None = None,
        paid_as: str = "",
        patience_seconds: float | None = None,
    ) -> Embedded:
        """Embed `texts` (1 to 2048 of them, none empty) in one call.

        Args:
            texts: what to embed.
            owner_id: as for `Transcriber.transcribe`.
            paid_as: as for `Transcriber.transcribe`.
            patience_seconds: how long the server may take, instead of a minute.

        Raises:
            Transient: it may work later; `retry_after` (seconds) when the provider or the limiter said so.
            Permanent: it will fail again; the message says what to do.
        """


@dataclass(frozen=True)
class Answer:
    """What a chat model wrote. `data` is the text read as the schema that was asked for, else None.

    The tokens are the provider's own count of what is to be paid: 0 for an answer from the cache, as
    `Transcription.seconds_billed`. `id` is the provider's name for this answer.
    """

    text: str
    data: Any
    input_tokens: int
    output_tokens: int
    model: str
    is_cached: bool = False
    id: str = ""


class Refused(Permanent):
    """A model was paid and its answer cannot be used: it refused, or wrote more than it may. `answer` was paid for."""

    code = "model_refused"

    def __init__(self, message: str, answer: Answer) -> None:
        super().__init__(message)
        self.answer = answer


class Garbled(Transient):
    """A model was paid and did not write what the schema asks for; another try may. `answer` was paid for."""

    code = "model_garbled"

    def __init__(self, message: str, answer: Answer) -> None:
        super().__init__(message)
        self.answer = answer


@dataclass(frozen=True)
class Image:
    """A picture that a model drew, as a file; `pictures` is how many are to be paid, as `Answer`'s tokens."""

    content: bytes
    media_type: str
    model: str
    pictures: int = 1
    is_cached: bool = False


class Chat(Protocol):
    """Writes an answer to messages."""

    @property
    def model(self) -> str:
        """Return the name of the model that answers when none is named."""

    def answer(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        schema: Mapping[str, Any] | None = None,
        schema_name: str = "",
        max_output_tokens: int,
        owner_id: UUID | None = None,
        paid_as: str = "",
        write: Callable[[str], None] | None = None,
        model: str | None = None,
    ) -> Answer:
        """Ask the model once.

        Args:
            messages: `{"role": "system" | "user" | "assistant", "content": text}`, in order.
            schema: a JSON Schema that the answer must fit; without one it is text.
            schema_name: what the schema is called (letters, digits, `_` and `-`).
            max_output_tokens: the most that it may write, thinking included.
            owner_id: as for `Transcriber.transcribe`.
            paid_as: as for `Transcriber.transcribe`.
            write: is given the text as it comes; a cached answer comes at once.
            model: another model than the one set.

        Raises:
            Refused: it refused, or the answer is over its length. It was paid for.
            Garbled: the answer is not what the schema asks for. It was paid for.
            Transient: it may work later; `retry_after` (seconds) when the provider or the limiter said so.
            Permanent: it will fail again; the message says what to do.

        An answer that breaks off on its way (a lost connection) may have been paid for; nobody tells how much.
        """


class Images(Protocol):
    """Draws pictures."""

    @property
    def model(self) -> str:
        """Return the model's name."""

    def generate(
        self, prompt: str, *, size: str = "1024x1024", owner_id: UUID | None = None, paid_as: str = ""
    ) -> Image:
        """Draw one picture of `size` (WIDTHxHEIGHT in pixels); arguments and errors as `Chat.answer`."""


@dataclass
class _Models:
    transcriber: Transcriber | None = None
    embedder: Embedder | None = None
    chat: Chat | None = None
    images: Images | None = None


def transcriber() -> Transcriber:
    """Return the current app's transcriber."""
    models = _models(current_app)
    if models.transcriber is None:
        from app.adapters.llm_openai import OpenAITranscriber

        models.transcriber = OpenAITranscriber.from_settings(_settings())
    return models.transcriber


def embedder() -> Embedder:
    """Return the current app's embedder."""
    models = _models(current_app)
    if models.embedder is None:
        from app.adapters.llm_openai import OpenAIEmbedder

        models.embedder = OpenAIEmbedder.from_settings(_settings())
    return models.embedder


def chat() -> Chat:
    """Return the current app's chat model."""
    models = _models(current_app)
    if models.chat is None:
        from app.adapters.llm_chat import OpenAIChat

        models.chat = OpenAIChat.from_settings(_settings())
    return models.chat


def images() -> Images:
    """Return the current app's image model."""
    models = _models(current_app)
    if models.images is None:
        from app.adapters.llm_images import OpenAIImages

        models.images = OpenAIImages.from_settings(_settings())
    return models.images


def install(
    app: Flask,
    *,
    transcriber: Transcriber | None = None,
    embedder: Embedder | None = None,
    chat: Chat | None = None,
    images: Images | None = None,
) -> None:
    """Let `app` use these from now on; one that is None is made from the settings again when needed."""
    app.extensions[EXTENSION] = _Models(transcriber, embedder, chat, images)


def has_chat() -> bool:
    """Tell whether there is a chat model: one was installed, or a key or server is set."""
    from app.adapters.llm_chat import OpenAIChat

    provider, made = _settings().chat, _models(current_app).chat
    return bool(provider.api_key or provider.base_url) or not (made is None or isinstance(made, OpenAIChat))


def short_language(language: str) -> str:
    """Return the ISO 639-1 part of a language: "en" for "en-GB", "" for nothing."""
    return language.replace("_", "-").partition("-")[0].strip().lower()


def _models(app: Flask) -> _Models:
    models: _Models = app.extensions.setdefault(EXTENSION, _Models())
    return models


def _settings() -> Settings:
    settings: Settings = current_app.settings  # type: ignore[attr-defined]
    return settings
