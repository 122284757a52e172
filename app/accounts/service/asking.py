"""Paid calls of chat and image models: within the owner's budget before, metered by the provider's own counts after."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from app.accounts.service.usage import ensure_budget, record_usage, release
from app.adapters import llm
from app.lib.ids import new_id
from app.lib.words import count_tokens
from app.web import settings

MESSAGE_TOKENS = 8  # what a provider counts for each message beside its text, rather too many


def chat_price(input_tokens: int, output_tokens: int) -> int:
    """Return what a chat call costs, in micro-USD; the sandbox's cost nothing."""
    rules = settings()
    if rules.chat.is_sandbox:
        return 0
    price_in, price_out = rules.chat_input_price_microusd_per_1k_tokens, rules.chat_output_price_microusd_per_1k_tokens
    return math.ceil((input_tokens * price_in + output_tokens * price_out) / 1000)


def image_price(pictures: int = 1) -> int:
    """Return what pictures cost, in micro-USD; the sandbox's cost nothing."""
    rules = settings()
    return 0 if rules.images.is_sandbox else pictures * rules.image_price_microusd


def ask(
    owner_id: UUID,
    messages: Sequence[Mapping[str, Any]],
    *,
    max_output_tokens: int,
    run_id: UUID | None = None,
    step: str = "",
    schema: Mapping[str, Any] | None = None,
    schema_name: str = "",
    write: Callable[[str], None] | None = None,
    model: str | None = None,
) -> llm.Answer:
    """Make one chat call for a person; see `llm.Chat.answer`.

    What is set aside before is the worst price: the input estimated high, and every token that may be written.

    Raises:
        OverBudget: the worst price does not fit this month's budget; nothing was asked.
        AppError: as `llm.Chat.answer`; what an answer that cannot be used has cost is metered, too.
    """
    estimated = sum(count_tokens(str(message.get("content", ""))) + MESSAGE_TOKENS for message in messages)
    if schema is not None:
        estimated += count_tokens(str(dict(schema)))
    ensure_budget(owner_id, chat_price(estimated, max_output_tokens), run_id=run_id, step=step)
    try:
        answer = llm.chat().answer(
            messages,
            schema=schema,
            schema_name=schema_name,
            max_output_tokens=max_output_tokens,
            owner_id=owner_id,
            paid_as=f"{run_id}/{step}" if run_id else "",
            write=write,
            model=model,
        )
    except (llm.Refused, llm.Garbled) as error:
        # Under a name of its own: the step may be tried again, and each of its calls is paid.
        paid = error.answer
        _record(owner_id, paid, run_id, f"{step[:200]} (not used: {paid.id[:60] or new_id()})")
        if run_id is not None:
            release(run_id, step)
        raise
    _record(owner_id, answer, run_id, step)
    return answer


def draw(
    owner_id: UUID, prompt: str, *, size: str = "1024x1024", run_id: UUID | None = None, step: str = ""
) -> llm.Image:
    """Have one picture drawn for a person; see `llm.Images.generate`.

    Raises:
        OverBudget: it does not fit this month's budget; nothing was drawn.
        AppError: as `llm.Images.generate`.
    """
    ensure_budget(owner_id, image_price(), run_id=run_id, step=step)
    paid_as = f"{run_id}/{step}" if run_id else ""
    image = llm.images().generate(prompt, size=size, owner_id=owner_id, paid_as=paid_as)
    record_usage(
        owner_id,
        kind="images",
        model=image.model,
        quantity=image.pictures,
        unit="pictures",
        microusd=image_price(image.pictures),
        run_id=run_id,
        step=step,
    )
    return image


def _record(owner_id: UUID, answer: llm.Answer, run_id: UUID | None, step: str) -> None:
    record_usage(
        owner_id,
        kind="chat",
        model=answer.model,
        quantity=answer.input_tokens + answer.output_tokens,
        unit="tokens",
        microusd=chat_price(answer.input_tokens, answer.output_tokens),
        run_id=run_id,
        step=step,
    )
