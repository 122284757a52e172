"""Errors of OpenAI's client, translated: what may pass, what will not, and what the person or administrator can do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from app import log
from app.errors import Permanent, Transient
from app.lib.clock import now

if TYPE_CHECKING:
    import openai

logger = log.get(__name__)

WITHOUT_RETRY_AFTER = 20.0  # seconds, when a 429 does not say
LONGEST_RETRY_AFTER = 24 * 3600.0
SHOWN_CHARACTERS = 300  # of the provider's own sentence


@contextmanager
def translated(model: str, on_pause: Callable[[float], None]) -> Iterator[None]:
    """Turn what OpenAI's client raises into our errors; `on_pause(seconds)` when the provider asks for a pause.

    Raises:
        Transient: connection, timeout, 408, 409, 429, 5xx, an answer that cannot be read.
        Permanent: everything else, an exhausted account included.
    """
    import openai

    try:
        yield
    except openai.APITimeoutError as error:
        raise Transient("The model provider took too long to answer. It is tried again.") from error
    except openai.APIConnectionError as error:
        raise Transient("The model provider cannot be reached at the moment. It is tried again.") from error
    except openai.APIStatusError as error:
        logger.warning("models.refused", model=model, status=error.status_code, error=error.code)
        raise _of_status(error, model, on_pause) from error
    except (openai.OpenAIError, ValueError, TypeError, KeyError, AttributeError) as error:
        # ValueError and the like: the body was no JSON, or not of the shape that OpenAI's API has.
        logger.warning("models.unreadable_answer", model=model, error=type(error).__name__)
        raise Transient("The model provider's answer could not be read. It is tried again.") from error


def _of_status(error: openai.APIStatusError, model: str, on_pause: Callable[[float], None]) -> Transient | Permanent:
    status = error.status_code
    retry_after = retry_after_of(error)
    if status == 429:  # noqa: PLR2004
        if "insufficient_quota" in (error.code, error.type):
            return Permanent(
                "The account at the model provider has no credit left. An administrator must add credit there; then"
                " choose Retry."
            )
        seconds = WITHOUT_RETRY_AFTER if retry_after is None else retry_after
        on_pause(seconds)
        return Transient("The model provider asks for a pause. This goes on by itself.", seconds)
    if status in (408, 409) or status >= 500:  # noqa: PLR2004
        return Transient("The model provider has a problem at the moment. It is tried again.", retry_after)
    return Permanent(_permanent_sentence(error, model))


def _permanent_sentence(error: openai.APIStatusError, model: str) -> str:
    if error.status_code in (401, 403):  # its own sentence may repeat parts of the key
        return "The model provider refuses our key. An administrator must check OPENAI_API_KEY; then choose Retry."
    if error.status_code == 404:  # noqa: PLR2004
        return (
            f"The model provider does not know the model {model}. An administrator must set another one"
            " (TRANSCRIPTION_MODEL, EMBEDDING_MODEL, CHAT_MODEL, IMAGES_MODEL) or correct OPENAI_BASE_URL; then choose"
            " Retry."
        )
    if error.status_code == 413:  # noqa: PLR2004
        return "The model provider finds this too large. Of sound, upload the recording at a lower quality."
    said = str(error.body.get("message", "")) if isinstance(error.body, dict) else ""
    if error.code == "context_length_exceeded":
        return (
            "This is more text than the model takes at once. An administrator must set CHAT_WINDOW_TOKENS to the window"
            " of the model; then try again."
        )
    if error.code == "unsupported_language":
        return said[:SHOWN_CHARACTERS]
    return f"The model provider refused the request: {said[:SHOWN_CHARACTERS] or 'no reason given'}"


def retry_after_of(error: openai.APIStatusError) -> float | None:
    """Return the seconds that a Retry-After header asks for (number or date), between 0 and a day; None without."""
    headers = error.response.headers
    try:
        if "retry-after-ms" in headers:
            seconds = float(headers["retry-after-ms"]) / 1000
        else:
            seconds = float(headers["retry-after"])
    except KeyError:
        return None
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(headers["retry-after"]) - now()).total_seconds()
        except (KeyError, ValueError, TypeError):
            return None
    if seconds != seconds:  # noqa: PLR0124  (a header may say "nan")
        return None
    return min(max(0.0, seconds), LONGEST_RETRY_AFTER)
