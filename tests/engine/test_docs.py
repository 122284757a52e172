"""The pages about the engine: their examples run, their numbers are the code's, and nothing public is left out."""

from __future__ import annotations

import importlib
import inspect
import linecache
import re
from datetime import timedelta
from pathlib import Path

import pytest

from app import engine
from app.engine import (
    Context,
    Ports,
    RetryAfter,
    Step,
    Workflow,
    codec,
    logs,
    memory,
    meta,
    options,
    reads,
    registry,
    sending,
    steps,
    store_events,
    streams,
    upkeep,
)
from app.engine.registry import registry as workflows
from app.lib import durations, expressions, fitting, json_text, keys
from app.settings import Settings
from tests.test_architecture import ROOT

DOCS = ROOT / "docs"
OPENS = "```python runnable"
PAGES = sorted(path for path in DOCS.rglob("*.md") if OPENS in path.read_text().splitlines())
VERBS = [
    name
    for name, found in vars(Step).items()
    if callable(found) and not name.startswith("_") and name not in ("enter", "remembered")
]
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")


@pytest.fixture(autouse=True)
def engines_own(registry):
    """Add the engine's own workflow again, which is hidden from tests like those of the product."""
    workflows.add(importlib.import_module("app.engine.bulk").BULK)  # the package has a verb of the same name


def name_of(path: Path) -> str:
    return str(path.relative_to(DOCS))


def examples(page: Path) -> str:
    """The page's runnable blocks as one program, each line at its own number: a traceback names the page."""
    program, is_inside = [], False
    for line in page.read_text().splitlines():
        if line.startswith("```"):
            is_inside = line == OPENS
        program.append(line if is_inside and line != OPENS else "")
    return "\n".join(program) + "\n"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_examples_of_a_page_do_what_it_says(page, monkeypatch):
    program = examples(page)
    assert "assert" in program, "An example that asserts nothing proves nothing."
    # So that pytest shows the line of the page.
    monkeypatch.setitem(linecache.cache, str(page), (len(program), None, program.splitlines(keepends=True), str(page)))
    exec(compile(program, str(page), "exec"), {"__name__": "docs"})  # noqa: S102  (our own pages)


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_a_page_with_an_example(verb):
    page = DOCS / "reference/verbs" / f"{verb.replace('_', '-')}.md"
    assert page in PAGES
    text = page.read_text()
    assert f"step.{verb}(" in text
    for part in ("## Guarantees", "## Gaps", "## Errors"):
        assert part in text


def reference() -> str:
    return "\n".join(path.read_text() for path in (DOCS / "reference").rglob("*.md"))


def test_all_that_is_public_is_in_the_reference():
    names = [
        *[name for name, found in vars(engine).items() if not name.startswith("_") and not inspect.ismodule(found)],
        *(name for name in vars(Context) if not name.startswith("_")),
    ]
    names += [name for name in Workflow.__dataclass_fields__ if name not in ("function", "hook", "is_hook")]
    text = reference()
    assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []


def test_every_page_is_in_the_index_and_every_link_leads_somewhere():
    pages = [*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md"]
    linked, broken = set(), []
    for page in pages:
        for target, _ in LINK.findall(page.read_text()):
            if "://" in target:
                continue
            found = (page.parent / target).resolve()
            if not found.exists():
                broken.append(f"{page.name}: {target}")
            elif page == DOCS / "README.md":
                linked.add(found)
    assert broken == []
    aside = ("decisions", "README.md")
    missing = [
        name_of(page) for page in DOCS.rglob("*.md") if page not in linked and not name_of(page).startswith(aside)
    ]
    assert missing == []


KIB = codec.KIB
LIMITS = {
    "an event's data": codec.MAX_EVENT_BYTES == 512 * KIB,
    "events in one transaction": sending.MAX_EVENTS == 5000,
    "an event's name": sending.MAX_NAME == 256,
    "a result of a step or a run": codec.MAX_RESULT_BYTES == 4 * KIB * KIB,
    "a result beside its memo": codec.MAX_INLINE_BYTES == 256 * KIB,
    "all memos of a run": memory.MAX_STATE_BYTES == 32 * KIB * KIB,
    "steps of a run": (steps.MAX_STEPS, memory.MANY_STEPS) == (10_000, 1_000),
    "`ctx.meta`": meta.MAX_BYTES == 64 * KIB,
    "a stream, each try": streams.MAX_BYTES == KIB * KIB,
    "kept log lines of a run": (logs.MAX_LINES, json_text.MAX_MESSAGE) == (1_000, 2_000),
    "a step's input, for people": codec.MAX_INPUT_BYTES == 16 * KIB,
    "an error's message": json_text.MAX_MESSAGE == 2_000,
    "an error's traceback": json_text.MAX_TRACEBACK == 8 * KIB,
    "retries": options.MAX_RETRIES == 20,
    "concurrency limits of a workflow": options.MAX_LIMITS == 2,
    "`version`, a limit, `burst`": fitting.MOST == 2_147_483_647,
    "`RetryAfter`, each and in all": timedelta(hours=24) == memory.MAX_DEFERRAL and RetryAfter(1e9).seconds == 86_400,
    "`priority`": registry.MAX_AHEAD == 600,
    "a duration": durations.LONGEST == 10 * 365 * 86_400,
    "an expression": expressions.MAX_LENGTH == 1_000,
    "a key of a limit, or an id": keys.MAX_KEY == 200,
    "a page of a list": reads.MAX_PAGE == 500,
    "take-overs in a row without a new step": upkeep.MAX_RECOVERIES == 5,
    "an event's `id`, `idempotency`": "interval '24 hours'" in store_events.CLAIM_KEY,
    "private memory of an isolated run": options.MIN_MEMORY == 64 * KIB * KIB,
    "`LEASE_SECONDS`": (Settings.lease_seconds, Ports.lease_seconds) == (30, 30),
    "`RUN_THREADS`": (Settings.run_threads, Ports.run_threads) == (16, 16),
    "`STEP_THREADS`": (Settings.step_threads, Ports.step_threads) == (48, 48),
    "`ISOLATED_PROCESSES`": (Settings.isolated_processes, Ports.isolated_processes) == (2, 2),
    "`DRAIN_SECONDS`": (Settings.drain_seconds, Ports.drain_seconds) == (25, 25),
    "`RETENTION_DAYS`": (Settings.retention_days, Ports.retention) == (90, timedelta(days=90)),
}


def test_the_page_of_limits_has_every_limit_with_the_number_of_the_code():
    rows = re.findall(r"^\| ([^|]+?) \|", (DOCS / "reference/engine/limits.md").read_text(), re.MULTILINE)
    assert [row for row in rows if row not in ("what", "setting", "---")] == list(LIMITS)
    assert [name for name, is_so in LIMITS.items() if not is_so] == []
