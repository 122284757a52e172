"""From a transcript to a title, a summary and chapters, when there is a model to write them.

video/transcription.completed, video/describe.requested -> describe-video
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from uuid import UUID

from app.engine import Concurrency, Context, NonRetriable, Outcome, Step, workflow
from app.videos import events, outlining, prompts

Json = dict[str, Any]

RUNS_PER_PERSON = 4
PARTS_AT_ONCE = 3


def describe_video_failed(_ctx: Context, outcome: Outcome) -> None:
    """Let the page offer to try again. The video is none the worse: its status is not touched."""
    outlining.say_ended(UUID(outcome.event.data["video_id"]))


@workflow(
    outlining.WORKFLOW,
    on=[events.TRANSCRIPTION_COMPLETED, events.DESCRIBE_REQUESTED],
    retries=2,
    concurrency=[Concurrency(RUNS_PER_PERSON, key="event.owner_id")],
    idempotency="event.data.request_id",
    subject="video:{event.data.video_id}",
    on_failure=describe_video_failed,
)
def describe_video(ctx: Context, step: Step) -> Json:
    """Have a title, a summary and chapters written; a long transcript by parts, which are then made one."""
    if ctx.event.owner_id is None:
        raise NonRetriable("An event about videos needs an owner.")
    about = (ctx.event.owner_id, UUID(ctx.event.data["video_id"]))
    plan = step.run("plan", outlining.plan, *about, is_asked=ctx.event.name == events.DESCRIBE_REQUESTED)
    if "skipped" in plan:
        return {"skipped": plan["skipped"]}

    def describe_part(branch: Step, number: int) -> prompts.Reply:
        messages = branch.run("read", outlining.read_part, *about, plan, number)
        first, last = plan["parts"][number]
        return _ask(branch, messages, first, last, plan["most"])

    replies = step.map("part", describe_part, list(range(len(plan["parts"]))), limit=PARTS_AT_ONCE)
    merged = None
    if len(replies) > 1:
        messages = prompts.merge_messages(replies, language=plan["language"])
        merged = step.ai("merge", messages=messages, schema=prompts.merge_schema(), **_limits("talk"))
    reply = prompts.join(replies, merged)
    saved: Json = step.run("save", outlining.save, *about, ctx.run_id, plan, asdict(reply))
    return saved


def _ask(step: Step, messages: prompts.Messages, first: int, last: int, most: int) -> prompts.Reply:
    """Ask for the outline of a part; once more when it names segments that are not there."""
    schema = prompts.schema(most)
    reply = prompts.read_reply(step.ai("outline", messages=messages, schema=schema, **_limits("outline")), first, last)
    if not reply.is_misnumbered:
        return reply
    again = prompts.again_messages(messages, reply, first, last)
    reply = prompts.read_reply(
        step.ai("outline-again", messages=again, schema=schema, **_limits("outline")), first, last
    )
    if not reply.chapters:
        raise NonRetriable("The model gave no chapter that is in the transcript. Try again, or with another model.")
    return reply


def _limits(schema_name: str) -> Json:
    return {"schema_name": schema_name, "max_output_tokens": prompts.OUTPUT_TOKENS}
